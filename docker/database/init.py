"""Process 1 of a container that has no other: it starts the server, and waits for whatever is left to it.

An orphan in a container becomes a child of process 1. PostgreSQL takes every child for one of its own, and
one that fails, such as a client of a health check that the engine has killed, for a crashed server process:
it ends all sessions.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

#: what an engine or an operator sends
FORWARDED = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT),
)


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end, hand it the signals that come, and wait for all children.

    :returns: its exit code; 128 and the number of the signal that ended it
    """
    waited = {*FORWARDED, signal.SIGCHLD}
    # not one is lost: they wait, from before the start on
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    child = os.posix_spawn(
        command[0],
        list(command),
        environment,
        setsigmask=before,
        # Python ignores these, and a program that is started inherits that
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )
    while True:
        number = signal.sigwait(waited)
        if number != signal.SIGCHLD:
            os.kill(child, number)
            continue
        for process, status in _ended():
            if process == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def _ended() -> list[tuple[int, int]]:
    # one signal may stand for many children
    found: list[tuple[int, int]] = []
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if process == 0:
            return found
        found.append((process, status))
