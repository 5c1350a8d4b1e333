"""The worker process: everything of the runtime that may crash.

Started by the supervisor as ``python -m pgpredict.runtime.worker FD PARENT`` with the settings on
standard input, where nobody sees a password.
"""

from __future__ import annotations

import functools
import logging
import os
import resource
import signal
import socket
import sys
import threading
from types import FrameType

from .artifacts import Databases, fetch_artifact
from .listener import DeploymentListener
from .predictor import Predictor
from .process import die_with_parent, set_up_logging
from .server import Server
from .settings import RuntimeSettings

logger = logging.getLogger(__name__)

#: what a thread for a connection may use; ONNX Runtime computes on it
_STACK_BYTES = 4 << 20


def run(settings: RuntimeSettings, listener: socket.socket) -> None:
    """Serve until SIGTERM.

    :param listener: bound and listening
    """
    if settings.address_space is not None:
        resource.setrlimit(resource.RLIMIT_AS, (settings.address_space, settings.address_space))
    threading.stack_size(_STACK_BYTES)
    databases = Databases(settings.dsn, settings.role)
    predictor = Predictor(
        functools.partial(fetch_artifact, databases), memory=settings.memory, threads=settings.threads
    )
    deployments = DeploymentListener(databases, predictor.warm, settings.idle)
    server = Server(
        listener,
        predictor,
        limit=settings.connections,
        on_database=deployments.seen,
        extra={"restarts": settings.restarts, "supervisor": os.getppid()},
    )
    deployments.start()
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the supervisor decides
    threading.Thread(target=server.serve, name="accept", daemon=True).start()
    logger.info(
        "event=ready socket=%s threads=%d memory=%d", settings.socket, settings.threads, settings.memory
    )
    import onnx  # noqa: F401 - the first model must not wait for it

    stop.wait()
    logger.info("event=drain grace_s=%.0f", settings.grace)
    server.drain(settings.grace)
    logger.info("event=exit")
    logging.shutdown()
    # threads may still be inside ONNX Runtime, whose destructors must not run below them
    os._exit(0)


def main() -> None:
    """Run the worker as the supervisor asks."""
    descriptor, parent = map(int, sys.argv[1:3])
    die_with_parent(parent)
    settings = RuntimeSettings.from_json(sys.stdin.read())
    set_up_logging(settings.log)
    run(settings, socket.socket(fileno=descriptor))


if __name__ == "__main__":
    main()
