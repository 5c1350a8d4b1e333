"""The supervisor: owns the socket, keeps one worker alive behind it.

The socket stays while workers come and go, so a caller that connects during a restart waits in the socket's
backlog instead of being refused. A worker that ends is replaced: at once the first time, then after
pauses that grow, during which callers are told. A worker that does not answer is killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import psutil

from pgpredict.notify import inherited_environment, notify

from .client import RuntimeClient
from .errors import NotRunning, RuntimeFailure
from .process import listening_socket, set_up_logging
from .refusal import refuse
from .settings import RuntimeSettings

logger = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
#: A worker that neither answers nor computes for so long is stuck
_STUCK_SECONDS = 5.0
#: Checking a very large artifact holds Python's lock, and answers wait: patience while it computes
_BUSY_SECONDS = 60.0
_LONGEST_PAUSE = 30.0
_HEALTHY_SECONDS = 30.0


class Supervisor:
    """Runs a worker and its successors in the foreground.

    :param settings: the runtime's
    """

    def __init__(self, settings: RuntimeSettings) -> None:
        self._settings = settings
        self._stopping = False
        self._restarts = 0
        self._failures = 0

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        :raises AlreadyRunning: if another runtime serves the socket
        """
        set_up_logging(self._settings.log)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        with listening_socket(Path(self._settings.socket)) as listener:
            while not self._stopping:
                self._run_worker(listener)
            notify("STOPPING=1")
        logger.info("event=stopped")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _run_worker(self, listener: socket.socket) -> None:
        started = time.monotonic()
        worker = self._start(listener)
        try:
            self._watch(worker)
        finally:
            self._stop(worker)
        if self._stopping:
            return
        self._restarts += 1
        self._failures = 1 if time.monotonic() - started > _HEALTHY_SECONDS else self._failures + 1
        pause = min(2.0 ** (self._failures - 2), _LONGEST_PAUSE) if self._failures > 1 else 0.0
        logger.error("event=worker_ended status=%s pause_s=%.0f", worker.returncode, pause)
        self._pause(listener, pause, worker.returncode)

    def _start(self, listener: socket.socket) -> subprocess.Popen[bytes]:
        settings = dataclasses.replace(self._settings, restarts=self._restarts)
        worker = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "pgpredict.runtime.worker",
                str(listener.fileno()),
                str(os.getpid()),
            ],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            # one arena for each of many threads would keep what they all once needed
            env={**inherited_environment(), "MALLOC_ARENA_MAX": "2"},
        )
        with contextlib.suppress(BrokenPipeError):  # it has died already, which _watch will find
            if worker.stdin is not None:
                worker.stdin.write(settings.to_json().encode())
                worker.stdin.close()
        return worker

    def _watch(self, worker: subprocess.Popen[bytes]) -> None:
        """Return when the worker has ended, must end, or we are told to stop."""
        answered = computed = time.monotonic()
        used, known = 0.0, False
        while not self._stopping and worker.poll() is None:
            # of a worker that is stuck we take care ourselves; the manager's watchdog is for us
            notify("WATCHDOG=1")
            self._wait(worker, _HEARTBEAT_SECONDS)
            if self._stopping or worker.poll() is not None:
                return
            if self._answers():
                answered = time.monotonic()
                if not known:
                    known = notify("READY=1", f"STATUS=worker {worker.pid}, {self._restarts} before it")
                continue
            now = time.monotonic()
            total = _processor_seconds(worker.pid)
            if total > used:
                used, computed = total, now
            if now - max(answered, computed) > _STUCK_SECONDS or now - answered > _BUSY_SECONDS:
                logger.error("event=worker_stuck silent_s=%.1f", now - answered)
                return

    def _wait(self, worker: subprocess.Popen[bytes], seconds: float) -> None:
        """Sleep, but not beyond the worker's end."""
        deadline = time.monotonic() + seconds
        try:
            descriptor = os.pidfd_open(worker.pid)
        except OSError:
            return
        try:
            # a signal handler that only sets a flag does not end poll(): look at the flag now and then
            while not self._stopping and (left := deadline - time.monotonic()) > 0:
                if select.select([descriptor], [], [], min(left, 0.2))[0]:
                    return
        finally:
            os.close(descriptor)

    def _answers(self) -> bool:
        try:
            with RuntimeClient(self._settings.socket, timeout=_ANSWER_SECONDS) as client:
                # a refusal is an answer: a worker whose places are all taken is none that is stuck
                client.request({"do": "status"})
        except NotRunning:
            return False
        return True

    def _stop(self, worker: subprocess.Popen[bytes]) -> None:
        if worker.poll() is None and self._stopping:
            worker.terminate()
            try:
                worker.wait(self._settings.grace + 2)
            except subprocess.TimeoutExpired:
                logger.warning("event=worker_does_not_end")
        if worker.poll() is None:
            worker.kill()
        worker.wait()

    def _pause(self, listener: socket.socket, seconds: float, status: int) -> None:
        deadline = time.monotonic() + seconds
        error = RuntimeFailure(
            f"the runtime is being restarted: its worker ended with status {status}",
            hint="its log tells why; a model may be too large for this machine's memory",
        )
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            notify("WATCHDOG=1")
            if select.select([listener], [], [], min(left, 0.2))[0]:
                refuse(listener.accept()[0], error)


def _processor_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
