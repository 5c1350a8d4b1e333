"""Requests to answers: the runtime without its sockets."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import psutil
from numpy.typing import NDArray

from onnx_models import artifact as artifacts
from onnx_models.scoring import Model, Scores
from pgpredict import __version__

from .codec import decode_batch, encode_float8s
from .errors import InvalidRequest
from .features import decode_row
from .sessions import Sessions
from .stats import Stats

OUTPUTS = ("prediction", "probability", "probabilities")
Answer = tuple[dict[str, Any], list[bytes]]
#: gets an artifact's bytes, given the database's oid (None: the dsn's own) and the sha256
Fetch = Callable[[int | None, str], bytes]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Predictor:
    """Answers requests; many threads at once.

    :param fetch: gets artifacts
    :param memory: bound on the bytes of all loaded models
    :param threads: threads that one prediction may use
    """

    def __init__(self, fetch: Fetch, *, memory: int, threads: int = 1) -> None:
        self._fetch = fetch
        self._threads = threads
        self._started = time.time()
        self.sessions = Sessions(memory, self._load)
        self.stats = Stats()
        # More batches at once than processors gain nothing and take memory; single rows never wait.
        self._batches = threading.BoundedSemaphore(2 * (os.cpu_count() or 1))

    def predict(
        self, header: dict[str, Any], blobs: Sequence[memoryview], run_options: ort.RunOptions
    ) -> Answer:
        """Answer a request to predict.

        :param header: the request's, see ``fdw/protocol.py``
        :param blobs: none, or the batch text
        :param run_options: lets the server end the run when the caller has gone
        :raises PgpredictError: for a request, batch or artifact that cannot be used
        :raises ModelError: for a model or features that cannot
        """
        started = time.perf_counter()
        artifact, database = _check_request(header, blobs)
        try:
            with self.sessions.use(artifact, lambda: self._fetch(database, artifact)) as model:
                if blobs:
                    with self._batches:
                        answer = _predict_batch(model, blobs[0], _wanted(header), run_options)
                else:
                    answer = _predict_row(model, header["features"], run_options)
        except BaseException:
            self.stats.record_error(artifact)
            raise
        rows = answer[0].get("rows", 1)
        elapsed = time.perf_counter() - started
        self.stats.record(artifact, rows=rows, seconds=elapsed, batch=bool(blobs))
        return answer

    def warm(self, database: int | None, artifact: str) -> None:
        """Load an artifact ahead of its first use."""
        if _SHA256.fullmatch(artifact):
            self.sessions.warm(artifact, lambda: self._fetch(database, artifact))

    def status(self) -> dict[str, Any]:
        """Return what the runtime holds and has done."""
        stats = self.stats.summary()
        loaded = {entry["artifact"]: entry for entry in self.sessions.summary()}
        models = [
            {"artifact": name, "loaded": name in loaded, **loaded.get(name, {}), **stats.get(name, {})}
            for name in [*loaded, *(name for name in stats if name not in loaded)]
        ]
        return {
            "ok": True,
            "pid": os.getpid(),
            "version": __version__,
            "onnxruntime": ort.__version__,
            "uptime": time.time() - self._started,
            "rss": psutil.Process().memory_info().rss,
            "memory": sum(entry["memory"] for entry in loaded.values()),
            "memory_limit": self.sessions.memory,
            "loads": self.sessions.loads,
            "evictions": self.sessions.evictions,
            "threads": self._threads,
            "models": models,
        }

    def _load(self, content: bytes) -> Model:
        artifacts.check(content)
        return Model.load(content, threads=self._threads)


def _check_request(header: dict[str, Any], blobs: Sequence[memoryview]) -> tuple[str, int]:
    artifact, database = header.get("artifact"), header.get("database")
    if not isinstance(artifact, str) or not _SHA256.fullmatch(artifact):
        raise InvalidRequest(f"artifact {artifact!r} is no sha256")
    if type(database) is not int or not 0 < database < 1 << 32:
        raise InvalidRequest(f"database {database!r} is no oid")
    if len(blobs) > 1 or bool(blobs) == isinstance(header.get("features"), dict):
        raise InvalidRequest("a request has either features or one batch")
    return artifact, database


def _wanted(header: dict[str, Any]) -> list[str]:
    outputs = header.get("outputs", list(OUTPUTS))
    if not isinstance(outputs, list) or not all(name in OUTPUTS for name in outputs):
        raise InvalidRequest(f"outputs {outputs!r} are not among {OUTPUTS}")
    return outputs


def _predict_batch(
    model: Model, text: memoryview, wanted: Sequence[str], run_options: ort.RunOptions
) -> Answer:
    columns, rows = decode_batch(text)
    scores = model.predict(columns, rows, run_options=run_options)
    blobs = {name: _batch_output(name, model, scores) for name in wanted}
    found = {name: encode_float8s(values) for name, values in blobs.items() if values is not None}
    classes = list(model.signature.classes)
    return {"ok": True, "rows": rows, "classes": classes, "outputs": list(found)}, list(found.values())


def _batch_output(name: str, model: Model, scores: Scores) -> NDArray[np.float64] | None:
    if name == "prediction":
        return scores.value + 1.0 if model.signature.classes else scores.value
    if scores.probabilities is None:
        return None
    if name == "probabilities":
        return scores.probabilities.T.reshape(-1)
    return scores.probabilities[np.arange(len(scores.value)), scores.value.astype(np.intp)]


def _predict_row(model: Model, features: dict[str, Any], run_options: ort.RunOptions) -> Answer:
    signature = model.signature
    scores = model.predict(decode_row(signature, features), 1, run_options=run_options)
    value = scores.value.item()
    if not signature.classes:
        return {"ok": True, "prediction": value}, []
    index = int(value)
    answer: dict[str, Any] = {
        "ok": True,
        "classes": signature.classes,
        "prediction": signature.classes[index],
    }
    if scores.probabilities is not None:
        row = scores.probabilities[0].tolist()
        answer |= {"probability": row[index], "probabilities": row}
    return answer, []
