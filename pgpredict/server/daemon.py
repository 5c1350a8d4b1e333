"""Processes of ours beside a cluster: started, known by a file, told from others, stopped."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from pgpredict.errors import ServerError

from .account import can_read, last_words, start_daemon
from .cluster import Cluster, open_log
from .home import write_atomically

STOP_TIMEOUT = 10


def start(
    cluster: Cluster,
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    ready: Callable[[], bool],
    patience: float,
    **further: Any,
) -> None:
    """Start a process under the server's account and wait until it is ready.

    :param name: what it is, such as ``runtime``; its log is called so
    :param ready: tells whether it answers
    :param patience: seconds that this may take
    :param further: what else is to be known of it later
    :raises ServerError: if it does not come up, with its last words
    """
    check_interpreter(cluster, name)
    log = log_path(cluster, name)
    with open_log(log, cluster.account) as output:
        begun = log.stat().st_size
        child = start_daemon(command, env=environment, account=cluster.account, log=output)
    record = {"pid": child.pid, "started": ticks_at_start(child.pid), **further}
    write_atomically(record_path(cluster, name), json.dumps(record), 0o600, cluster.account)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and child.poll() is None:
        if ready():
            # it goes on without us: no complaint that we do not wait for it
            child.returncode = 0
            return
        time.sleep(0.05)
    stop(cluster, name)
    with log.open(errors="replace") as written:
        written.seek(begun)
        said = last_words(written.read(), 8)
    raise ServerError(
        f"the {name} did not start: {said or 'it said nothing'}", hint=f"its log is {str(log)!r}"
    )


def log_path(cluster: Cluster, name: str) -> Path:
    """Return the path of a process's log."""
    return cluster.home.log / f"{name}.log"


def base_environment(cluster: Cluster) -> dict[str, str]:
    """Return the environment of a process: our packages from the copy that its account can read."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(cluster.home.path),
        "PYTHONPATH": str(cluster.home.lib),
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
    }


def interpreter() -> Path:
    """Return the path of our interpreter that the runtime's account can walk.

    The checkout's ``.venv`` may be a link out of a directory that is closed to it. The interpreter itself
    is not resolved: where it lies tells Python which environment's packages to use.
    """
    given = Path(sys.executable)
    return given.parent.resolve() / given.name


def check_interpreter(cluster: Cluster, name: str) -> None:
    """Refuse an interpreter or packages that the server's account cannot read.

    :raises ServerError: if it cannot
    """
    packages = importlib.util.find_spec("numpy")
    needed = [interpreter()] + ([Path(packages.origin).resolve()] if packages and packages.origin else [])
    for path in needed:
        if not can_read(cluster.account, path):
            raise ServerError(
                f"the account {cluster.account.name!r}, which runs the {name}, cannot read {str(path)!r}",
                hint="install pgpredict where other accounts can read it; 'scripts/setup' does that",
            )


def record_path(cluster: Cluster, name: str) -> Path:
    """Return where it is written down which process serves a cluster."""
    return cluster.home.run / f"{name}.json"


def read_record(cluster: Cluster, name: str) -> dict[str, Any]:
    """Return what is known about the process that was started last; empty if there is nothing."""
    try:
        record = json.loads(record_path(cluster, name).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def process_of(cluster: Cluster, name: str) -> psutil.Process | None:
    """Return the process, None if it does not run."""
    record = read_record(cluster, name)
    try:
        process = psutil.Process(int(record["pid"]))
        # process ids are used again: the time of its start tells it apart; the account, who could write
        # anything there, that root ends no process of anybody else
        same = _is_of(process, record) and process.uids().real == cluster.account.uid
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, OSError, KeyError, TypeError, ValueError):
        return None


def _is_of(process: psutil.Process, record: Mapping[str, Any]) -> bool:
    if "started" in record:
        return ticks_at_start(process.pid) == int(record["started"])
    # by an older version
    return abs(process.create_time() - float(record["created"])) < 0.05


def ticks_at_start(pid: int) -> int:
    """Return when a process was started, in ticks since the machine was.

    As a time of day it would be another one once somebody sets the clock.
    """
    # the name, in parentheses, may have any character in it
    return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])


def stop(cluster: Cluster, name: str, patience: float = STOP_TIMEOUT) -> bool:
    """Stop the process and those that it has started.

    :param patience: seconds until it is killed
    :returns: whether it ran
    """
    process = process_of(cluster, name)
    if process is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        # a suspended one does not see the signal before it goes on
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGCONT)
        _, alive = psutil.wait_procs([process], timeout=patience)
        for member in family if alive else family[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=STOP_TIMEOUT)
    record_path(cluster, name).unlink(missing_ok=True)
    return True
