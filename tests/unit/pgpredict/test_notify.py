"""Messages to the service manager."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pgpredict.notify import inherited_environment, notify, watchdog_seconds


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_messages_arrive(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tmp_path / "notify") if kind == "file" else f"@pgpredict-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name if kind == "file" else f"\0{name[1:]}")
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert notify("READY=1", "STATUS=all is well")
        assert manager.recv(100) == b"READY=1\nSTATUS=all is well"


def test_a_manager_that_is_not_there_or_gone_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    for name in ("", "relative", str(tmp_path / "gone")):
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert not notify("READY=1")


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("30000000", "", 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
        ("0", "", None),
        ("x", "", None),
    ],
)
def test_watchdog(
    microseconds: str, pid: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert watchdog_seconds() == seconds


def test_children_do_not_answer_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & inherited_environment().keys()
    assert inherited_environment()["PATH"] == os.environ["PATH"]
