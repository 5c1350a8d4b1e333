from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from onnx_models.scoring import Model
from pgpredict.runtime.errors import OutOfMemory
from pgpredict.runtime.sessions import Sessions, estimate
from tests import graphs

ARTIFACT = graphs.linear()


def fetch() -> bytes:
    return ARTIFACT


def sessions(models: float) -> Sessions:
    return Sessions(int(models * estimate(len(ARTIFACT))), Model.load)


def loaded(cache: Sessions) -> list[str]:
    return [entry["artifact"] for entry in cache.summary()]


def test_the_least_recently_used_is_dropped() -> None:
    cache = sessions(2.5)
    for name in ("a", "b", "a", "c"):
        cache.warm(name, fetch)
    assert loaded(cache) == ["a", "c"]
    assert (cache.loads, cache.evictions) == (3, 1)


def test_a_model_in_use_stays() -> None:
    cache = sessions(1.5)
    with cache.use("a", fetch):
        cache.warm("b", fetch)
        assert loaded(cache) == ["a", "b"]
    cache.warm("c", fetch)
    assert loaded(cache) == ["c"]


def test_a_model_larger_than_the_bound_is_refused() -> None:
    cache = sessions(0.5)
    with pytest.raises(OutOfMemory, match="takes about"):
        cache.warm("a", fetch)
    assert loaded(cache) == []


def test_many_threads_load_it_once() -> None:
    cache, fetches = sessions(10), []
    barrier = threading.Barrier(16)

    def slow_fetch() -> bytes:
        fetches.append(1)
        time.sleep(0.05)
        return ARTIFACT

    def work(_: int) -> Model:
        barrier.wait()
        with cache.use("a", slow_fetch) as model:
            return model

    with ThreadPoolExecutor(16) as pool:
        models = set(map(id, pool.map(work, range(16))))
    assert (len(models), len(fetches), cache.loads) == (1, 1, 1)
    assert cache.summary()[0]["in_use"] == 0


def test_a_failed_load_fails_for_all_who_wait_and_is_tried_again() -> None:
    cache, barrier = sessions(10), threading.Barrier(4)

    def failing_fetch() -> bytes:
        time.sleep(0.05)
        raise OSError("gone")

    def work(_: int) -> str:
        barrier.wait()
        try:
            cache.warm("a", failing_fetch)
        except OSError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(4))) == {"gone"}
    cache.warm("a", fetch)
    assert loaded(cache) == ["a"]
