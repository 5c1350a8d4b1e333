"""Loaded models: each once, the least recently used dropped first, bounded by memory."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from onnx_models.scoring import Model

from .errors import OutOfMemory

logger = logging.getLogger(__name__)

#: A session's memory, measured: 0.3 to 0.9 MB for small models, 4.0 bytes a byte of artifact for a forest of
#: 124 MB. Loading takes another five for a moment.
SESSION_BYTES = 1 << 20
BYTES_PER_ARTIFACT_BYTE = 4


def estimate(size: int) -> int:
    """Return how many bytes of memory an artifact of a size takes once it is loaded."""
    return SESSION_BYTES + BYTES_PER_ARTIFACT_BYTE * size


@dataclasses.dataclass
class _Entry:
    model: Model
    memory: int
    loaded_at: float
    pins: int = 0


class _Loading:
    """A load under way, which others wait for."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: BaseException | None = None


class Sessions:
    """Models by artifact.

    :param memory: bound on the estimated bytes of all models
    :param load: turns bytes into a model
    """

    def __init__(self, memory: int, load: Callable[[bytes], Model]) -> None:
        self.memory = memory
        self._load = load
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._loading: dict[str, _Loading] = {}
        self.loads = 0
        self.evictions = 0

    @contextlib.contextmanager
    def use(self, artifact: str, fetch: Callable[[], bytes]) -> Iterator[Model]:
        """Give a model, which stays loaded at least until the block ends.

        Of many threads that ask for the same missing model one loads it, the others wait.

        :param artifact: sha256 of the model
        :param fetch: gets its bytes
        :raises OutOfMemory: if the model alone exceeds the bound
        """
        entry = self._pin(artifact, fetch)
        try:
            yield entry.model
        finally:
            with self._lock:
                entry.pins -= 1

    def warm(self, artifact: str, fetch: Callable[[], bytes]) -> None:
        """Load a model ahead of its first use."""
        with self.use(artifact, fetch):
            pass

    def summary(self) -> list[dict[str, Any]]:
        """Return the loaded models, the most recently used last."""
        with self._lock:
            return [
                {
                    "artifact": artifact,
                    "memory": entry.memory,
                    "in_use": entry.pins,
                    "loaded_at": entry.loaded_at,
                    "target": entry.model.signature.target.name,
                    "task": entry.model.signature.task,
                }
                for artifact, entry in self._entries.items()
            ]

    def _pin(self, artifact: str, fetch: Callable[[], bytes]) -> _Entry:
        while True:
            with self._lock:
                entry = self._entries.get(artifact)
                if entry is not None:
                    self._entries.move_to_end(artifact)
                    entry.pins += 1
                    return entry
                loading = self._loading.get(artifact)
                mine = loading is None
                if loading is None:
                    loading = self._loading[artifact] = _Loading()
            if mine:
                return self._load_entry(artifact, fetch, loading)
            loading.done.wait()
            if loading.error is not None:
                raise loading.error

    def _load_entry(self, artifact: str, fetch: Callable[[], bytes], loading: _Loading) -> _Entry:
        try:
            entry = self._make_entry(artifact, fetch)
        except BaseException as error:
            loading.error = error
            with self._lock:
                del self._loading[artifact]
            raise
        else:
            with self._lock:
                self._entries[artifact] = entry
                del self._loading[artifact]
            return entry
        finally:
            loading.done.set()

    def _make_entry(self, artifact: str, fetch: Callable[[], bytes]) -> _Entry:
        started = time.perf_counter()
        content = fetch()
        memory = estimate(len(content))
        self._make_room(memory, len(content))
        model = self._load(content)
        self.loads += 1
        logger.info(
            "event=load artifact=%s bytes=%d memory=%d ms=%.0f",
            artifact[:12],
            len(content),
            memory,
            (time.perf_counter() - started) * 1e3,
        )
        return _Entry(model, memory, time.time(), pins=1)

    def _make_room(self, memory: int, size: int) -> None:
        if memory > self.memory:
            raise OutOfMemory(
                f"a model of {size} bytes takes about {memory} bytes, the runtime may use {self.memory}",
                hint="start the runtime with a larger --memory, or train a smaller model",
            )
        dropped = []
        with self._lock:
            used = sum(entry.memory for entry in self._entries.values())
            for artifact, entry in list(self._entries.items()):
                if used + memory <= self.memory:
                    break
                # dropping a model in use would free nothing before its predictions end
                if not entry.pins:
                    used -= entry.memory
                    dropped.append(self._entries.pop(artifact))
                    self.evictions += 1
                    logger.info("event=evict artifact=%s memory=%d", artifact[:12], entry.memory)
        if dropped:
            dropped.clear()
            release_memory()


def release_memory() -> None:
    """Give freed memory back to the system; glibc keeps it otherwise."""
    with contextlib.suppress(AttributeError):  # other C libraries have no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
