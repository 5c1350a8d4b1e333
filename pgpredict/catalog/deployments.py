"""Hears of deployments, for callers that keep what was rewritten."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable
from typing import Any, Self

import psycopg

logger = logging.getLogger(__name__)

#: PostgreSQL's channel on which the extension tells of models that are deployed, dropped or renamed
CHANNEL = "pgpredict"
#: seconds after which answers are asked for again, whatever was heard: DDL on users' tables is not told
SECONDS = 5.0
#: seconds between two looks at whether it is to end, and the longest between two tries to connect
_LOOK, _LONGEST = 0.5, 10.0


class Deployments:
    """Listens in a thread, on a connection of its own, until it is closed.

    :param dsn: the database
    :param seconds: for which answers hold without a message
    """

    def __init__(self, dsn: str, *, seconds: float = SECONDS) -> None:
        self._dsn, self.seconds = dsn, seconds
        self._number = 0
        self._hears = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="pgpredict deployments", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def hears(self) -> bool:
        """Whether it is connected: nothing is missed then. After a fork the child has no thread."""
        return self._hears.is_set() and self._thread.is_alive()

    @property
    def number(self) -> int:
        """How often something has been heard, or may have been missed."""
        return self._number

    def wait(self, timeout: float) -> bool:
        """Wait until it is connected; return whether it is."""
        return self._hears.wait(timeout)

    def generation(self) -> Hashable:
        """Return another value once any answer may be another one, for :class:`rewriter.VersionedCatalog`."""
        if not self.hears:
            return object()
        return self._number, int(time.monotonic() / self.seconds)

    def close(self) -> None:
        """Listen no more."""
        self._ended.set()
        self._thread.join()

    def _listen(self) -> None:
        pause = _LOOK
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True, connect_timeout=10) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    pause = _LOOK
                    self._hear(connection)
            except psycopg.Error as error:
                logger.warning("deployments are not heard of: %s", str(error).strip())
                self._ended.wait(pause)
                pause = min(2 * pause, _LONGEST)
            finally:
                self._hears.clear()

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        # whatever happened while nobody listened
        self._number += 1
        self._hears.set()
        while not self._ended.is_set():
            for _ in connection.notifies(timeout=_LOOK, stop_after=1):
                self._number += 1
