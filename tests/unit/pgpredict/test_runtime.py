from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from onnx_models.artifact import sha256
from onnx_models.errors import ModelError
from pgpredict.errors import InvalidInput
from pgpredict.runtime.errors import InvalidRequest
from pgpredict.runtime.predictor import Predictor
from pgpredict.runtime.settings import RuntimeSettings, parse_size
from pgpredict.runtime.stats import Latencies, Stats
from tests import graphs

from .test_runtime_codec import batch


def predictor(content: bytes) -> Predictor:
    return Predictor(lambda database, artifact: content, memory=1 << 30)


def request(content: bytes, **fields: object) -> dict[str, object]:
    return {"do": "predict", "artifact": sha256(content), "database": 5, **fields}


def floats(blob: bytes) -> list[float]:
    values: list[float] = np.frombuffer(blob, offset=20).tolist()
    return values


def test_the_worker_imports_no_training_library() -> None:
    program = (
        "import sys, pgpredict.runtime.worker, pgpredict.runtime.supervisor, onnx\n"
        "heavy = {'sklearn', 'skl2onnx', 'pandas', 'scipy', 'rewriter'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_supervisor_does_not_import_onnx_runtime() -> None:
    program = (
        "import sys, pgpredict.cli.runtime, pgpredict.runtime.supervisor\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'psycopg'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "modules", ["pgpredict.runtime.worker", "onnx_models.scoring", "onnx_models.train", "benchmarks.__main__"]
)
def test_onnx_runtime_keeps_what_it_sees_to_itself(tmp_path: Path, modules: str) -> None:
    """Its wheels make an identifier and a queue of events for their makers in the user's cache."""
    program = (
        f"import {modules}\nfrom onnx_models.scoring import Model\nModel.load(open({{!r}}, 'rb').read())"
    )
    (tmp_path / "linear.onnx").write_bytes(graphs.linear())
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    (tmp_path / "home").mkdir()
    command = [sys.executable, "-c", program.format(str(tmp_path / "linear.onnx"))]
    subprocess.run(command, env=environment, check=True)
    assert not list(tmp_path.glob("**/*onnxruntime*"))


def test_one_row_of_a_classifier() -> None:
    content = graphs.classifier()
    answer, blobs = predictor(content).predict(request(content, features={"x": 0.75}), [], ort.RunOptions())
    assert blobs == []
    assert answer == {
        "ok": True,
        "classes": ("no", "yes"),
        "prediction": "yes",
        "probability": 0.75,
        "probabilities": [0.25, 0.75],
    }


def test_one_row_of_a_regression() -> None:
    content = graphs.linear((1, 10))
    features = {"a": "1", "b": 2, "more": None}
    answer, _ = predictor(content).predict(request(content, features=features), [], ort.RunOptions())
    assert answer == {"ok": True, "prediction": 21.0}


def test_a_batch_of_a_classifier() -> None:
    content = graphs.classifier()
    text = memoryview(batch({"x": [0.25, 0.75, 1.0]}, {}, 3))
    answer, blobs = predictor(content).predict(
        request(content, outputs=["probabilities", "prediction", "probability"]), [text], ort.RunOptions()
    )
    assert answer == {
        "ok": True,
        "rows": 3,
        "classes": ["no", "yes"],
        "outputs": ["probabilities", "prediction", "probability"],
    }
    assert list(map(floats, blobs)) == [[0.75, 0.25, 0.0, 0.25, 0.75, 1.0], [1, 2, 2], [0.75, 0.75, 1.0]]


def test_what_a_model_does_not_have_is_left_out() -> None:
    content = graphs.linear((1,))
    text = memoryview(batch({"a": [1.0]}, {}, 1))
    answer, blobs = predictor(content).predict(request(content), [text], ort.RunOptions())
    assert answer["outputs"] == ["prediction"]
    assert len(blobs) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"artifact": "x"},
        {"artifact": None},
        {"artifact": "../../etc/passwd"},
        {"database": "postgres"},
        {"database": -1},
        {"database": True},
        {"features": None},
        {"features": [1]},
    ],
)
def test_requests_that_no_wrapper_sends(fields: dict[str, object]) -> None:
    content = graphs.linear()
    header = {**request(content, features={"a": 1, "b": 1}), **fields}
    with pytest.raises(InvalidRequest):
        predictor(content).predict(header, [], ort.RunOptions())


def test_statistics_count_errors_too() -> None:
    content = graphs.linear((1,))
    tested = predictor(content)
    tested.predict(request(content, features={"a": 1}), [], ort.RunOptions())
    with pytest.raises(ModelError):
        tested.predict(request(content, features={}), [], ort.RunOptions())
    (model,) = tested.status()["models"]
    assert (model["requests"], model["rows"], model["errors"], model["point"]["count"]) == (2, 1, 1, 1)


def test_percentiles_are_right_within_a_bucket() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 1001):
        latencies.record(milliseconds / 1e3)
    for share in (0.5, 0.95, 0.99):
        assert latencies.percentile(share) == pytest.approx(share, rel=0.03)


def test_statistics_are_bounded() -> None:
    stats = Stats()
    for number in range(1500):
        stats.record_error(str(number))
    assert len(stats.summary()) == 1000
    assert Latencies().percentile(0.5) is None


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2 << 30), ("512 mb", 512 << 20), ("1.5kB", 1536), ("7", 7), ("7B", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "2 parsecs", "-1GB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_size(text)


def test_settings_reach_the_worker() -> None:
    settings = RuntimeSettings("/run/x.sock", dsn="host=a password='b c'", memory=5, role="r")
    assert RuntimeSettings.from_json(settings.to_json()) == settings
