"""The processes: killed, frozen, doubled, stopped. No database is asked."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgpredict.runtime.errors import NotRunning
from tests.fix_runtime import RunningRuntime, eventually, freeze, is_alive, served

NO_SERVER = "host=/nonexistent"


def test_a_killed_worker_is_replaced_and_callers_wait() -> None:
    with RunningRuntime(NO_SERVER) as runtime:
        worker = runtime.worker
        with runtime.client() as client:
            # answered once, so that the connection is this worker's: one in the backlog is left to the next
            assert client.status()["pid"] == worker
            os.kill(worker, signal.SIGKILL)
            with pytest.raises(NotRunning):
                client.status()
        # one reconnect is enough: the socket is the supervisor's and stays
        with runtime.client() as client:
            status = client.status()
        assert status["pid"] != worker
        assert status["restarts"] == 1


def test_a_worker_that_dies_again_and_again_is_not_started_in_a_rush() -> None:
    with RunningRuntime(NO_SERVER) as runtime:
        # the pauses grow: who was not there to see one kills the next worker
        for _ in range(6):
            worker = eventually(lambda: runtime.worker, NotRunning)
            os.kill(worker, signal.SIGKILL)
            told = eventually(lambda worker=worker: refused(runtime, worker))  # type: ignore[misc]
            if told != BACK:
                break
        assert "is being restarted" in told
        assert eventually(lambda: runtime.status(), NotRunning)["restarts"] >= 2


BACK = "there is another worker"


def refused(runtime: RunningRuntime, worker: int) -> str:
    try:
        return BACK if runtime.worker != worker else ""
    except NotRunning as error:
        return error.message if "restarted" in error.message else ""


def test_a_frozen_worker_is_replaced() -> None:
    with RunningRuntime(NO_SERVER) as runtime:
        worker = runtime.worker
        freeze(worker)
        eventually(lambda: runtime.status()["pid"] != worker, NotRunning)
        assert not is_alive(worker)


def test_a_worker_that_takes_no_more_connections_lives_on() -> None:
    """Longer than one may be silent: the supervisor's own connection is among those that are refused."""
    with RunningRuntime(NO_SERVER, "--connections", "1") as runtime, ExitStack() as stack:
        client = stack.enter_context(eventually(lambda: served(runtime.path)))
        worker = client.status()["pid"]
        time.sleep(9)
        assert client.status()["pid"] == worker
        assert client.status()["restarts"] == 0


def test_the_worker_dies_with_its_supervisor_and_the_socket_can_be_taken_over() -> None:
    with RunningRuntime(NO_SERVER) as runtime:
        worker = runtime.worker
        runtime.process.kill()
        runtime.process.wait()
        eventually(lambda: not is_alive(worker))
        assert runtime.path.exists()
        with RunningRuntime(NO_SERVER, path=runtime.path) as successor:
            assert successor.status()["pid"] != worker


def test_a_frozen_worker_dies_with_its_supervisor() -> None:
    with RunningRuntime(NO_SERVER) as runtime:
        worker = runtime.worker
        freeze(worker)
        runtime.process.kill()
        eventually(lambda: not is_alive(worker))


def test_a_second_runtime_on_the_same_socket_refuses() -> None:
    with RunningRuntime(NO_SERVER) as runtime:
        worker = runtime.worker
        second = run_runtime("--socket", str(runtime.path))
        assert second.returncode == 1
        assert "another runtime holds" in second.stderr
        assert runtime.worker == worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    with RunningRuntime(NO_SERVER) as runtime:
        worker = runtime.worker
        with runtime.client():  # an idle connection holds nothing up
            runtime.process.send_signal(number)
            assert runtime.process.wait(60) == 0
        assert not is_alive(worker)
        assert not runtime.path.exists()
        assert "event=drain" in runtime.log.read_text()


def test_the_socket_is_this_account_s_alone() -> None:
    with RunningRuntime(NO_SERVER) as runtime:
        assert stat.S_IMODE(runtime.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(runtime.path.parent.stat().st_mode) == 0o700


def test_sockets_that_cannot_be(tmp_path: Path) -> None:
    open_directory, file = tmp_path / "open", tmp_path / "file"
    open_directory.mkdir()
    open_directory.chmod(0o777)
    file.write_text("precious")
    for path, clause in (
        (open_directory / "s", "not this account's alone"),
        (file, "is no socket"),
        (tmp_path / ("x" * 120), "longer than"),
        (file / "s", "cannot make the socket"),
    ):
        done = run_runtime("--socket", str(path))
        assert done.returncode == 1
        assert clause in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    assert file.read_text() == "precious"


def test_status_on_the_command_line() -> None:
    with RunningRuntime(NO_SERVER) as runtime:
        shown = run_runtime("--socket", str(runtime.path), "--status")
        assert shown.returncode == 0
        assert f"pid {runtime.worker}" in shown.stdout
        printed = run_runtime("--socket", str(runtime.path), "--status", "--json")
        assert '"models": []' in printed.stdout
    gone = run_runtime("--socket", str(runtime.path), "--status")
    assert gone.returncode == 1
    assert "no runtime answers" in gone.stderr


def test_a_server_that_is_not_there_is_an_answer() -> None:
    with RunningRuntime(NO_SERVER) as runtime, runtime.client() as client:
        answer, _ = client.request({"do": "predict", "artifact": "0" * 64, "database": 5, "features": {}})
        assert (answer["ok"], answer["sqlstate"]) == (False, "08001")
        assert client.status()["ok"]


def run_runtime(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pgpredict", "runtime", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)
