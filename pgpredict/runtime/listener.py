"""Deployments, heard through NOTIFY, so that a version is loaded before its first use.

The runtime listens in the databases that ask it for predictions, until they have not for a while: a
connection that stays would be in the way of DROP DATABASE, and of CREATE DATABASE ... TEMPLATE. Both take a
lock, then wait some seconds for others to leave: whoever listens looks for such locks, and leaves. A missed
notice costs the first prediction some milliseconds and nothing else, so nothing here is fatal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import selectors
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from pgpredict.errors import PgpredictError

from .artifacts import Databases
from .errors import DatabaseGone

logger = logging.getLogger(__name__)

CHANNEL = "pgpredict"
_EVENTS = {"deploy", "rollback"}
_MAX_DATABASES = 100
_FIRST_DELAY = 1.0
_LAST_DELAY = 60.0
#: seconds between two looks for somebody who waits for us to leave; PostgreSQL waits for 5
_LOOK_EVERY = 1.0
#: how often a standby is looked at, which may have become a primary
_STANDBY_DELAY = 10.0
_WAKE = object()
# dropped or renamed; copied
_WANTED_ALONE = """
SELECT objid FROM pg_catalog.pg_locks
WHERE locktype = 'object' AND classid = 'pg_catalog.pg_database'::pg_catalog.regclass
    AND mode IN ('AccessExclusiveLock', 'ShareLock')
"""
_OID = "SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"


@dataclasses.dataclass
class _Watched:
    """A database that is listened to, or is to be."""

    used: float
    connection: psycopg.Connection[tuple[Any, ...]] | None = None
    retry_at: float = 0.0
    delay: float = _FIRST_DELAY
    standby: bool = False


class DeploymentListener:
    """Listens in a thread of its own.

    :param databases: where to connect
    :param warm: called with a database's oid and the artifact deployed there
    :param idle: seconds after its last prediction that a database is listened to
    """

    def __init__(self, databases: Databases, warm: Callable[[int | None, str], None], idle: float) -> None:
        self._databases = databases
        self._warm = warm
        self._idle = idle
        # None is the dsn's own database, which is listened to for good
        self._watched: dict[int | None, _Watched] = {}
        if databases.has_home:
            self._watched[None] = _Watched(math.inf)
        self._home: int | None = None
        self._look_at = 0.0
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ, _WAKE)

    def start(self) -> None:
        """Start the thread; it ends with the process."""
        threading.Thread(target=self._run, name="listener", daemon=True).start()

    def seen(self, database: int) -> None:
        """Note that a database has asked for a prediction.

        :param database: its oid
        """
        if database == self._home:
            return
        watched = self._watched.get(database)
        if watched is not None:
            watched.used = time.monotonic()
            return
        with self._lock:
            if len(self._watched) < _MAX_DATABASES:
                self._watched[database] = _Watched(time.monotonic())
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        while True:
            try:
                for key, _ in self._selector.select(self._timeout()):
                    if key.data is _WAKE:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake_read, 4096)
                    else:
                        self._read(key.data)
                self._look_after()
            except Exception:
                logger.exception("event=listener_failed")
                time.sleep(_FIRST_DELAY)

    def _timeout(self) -> float | None:
        """Return the seconds until something is due: a retry, or a database gone idle."""
        with self._lock:
            due = [
                item.used + self._idle if item.connection is not None else item.retry_at
                for item in self._watched.values()
            ]
            if self._visited() is not None:
                due.append(self._look_at)
        # a little more, or a database that is due now would be found not quite due again and again
        first = min(due, default=math.inf)
        return None if first == math.inf else max(first - time.monotonic(), 0.0) + 0.01

    def _look_after(self) -> None:
        now = time.monotonic()
        with self._lock:
            watched = list(self._watched.items())
        for database, item in watched:
            if item.used + self._idle <= now:
                self._close(item)
                with self._lock:
                    del self._watched[database]
            elif item.connection is None and item.retry_at <= now:
                self._connect(database, item)
        if self._look_at <= now:
            self._look_at = now + _LOOK_EVERY
            self._leave()

    def _visited(self) -> int | None:
        """Return a database that is listened to, and not for good."""
        items = list(self._watched.items())
        return next((oid for oid, item in items if oid is not None and item.connection is not None), None)

    def _leave(self) -> None:
        """Leave the databases that somebody wants alone; their next prediction brings us back."""
        database = self._visited()
        item = None if database is None else self._watched[database]
        if item is None or item.connection is None:
            return
        descriptor = item.connection.fileno()
        try:
            wanted = {row[0] for row in item.connection.execute(_WANTED_ALONE)}
        except psycopg.Error as error:
            self._lost(database, item, descriptor, error)
            return
        self._read(database)  # what came with the answer wakes nobody
        for oid in wanted & set(self._watched):
            logger.info("event=leave database=%s", oid)
            self._close(self._watched[oid])
            with self._lock:
                del self._watched[oid]

    def _connect(self, database: int | None, item: _Watched) -> None:
        connection = None
        try:
            connection = self._databases.connect(database)
            if connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone() == (True,):
                self._leave_standby(database, item, connection)
                return
            connection.execute(f"LISTEN {CHANNEL}")
            if database is None:
                self._home = connection.execute(_OID).fetchall()[0][0]
        except DatabaseGone:
            with self._lock:
                del self._watched[database]
            return
        except (PgpredictError, psycopg.Error) as error:
            if connection is not None:
                connection.close()
            item.retry_at = time.monotonic() + item.delay
            item.delay = min(item.delay * 2, _LAST_DELAY)
            logger.warning(
                "event=listen_failed database=%s retry_s=%.0f error=%r", database, item.delay, str(error)
            )
            return
        item.connection, item.delay, item.standby = connection, _FIRST_DELAY, False
        self._selector.register(connection.fileno(), selectors.EVENT_READ, database)
        logger.info("event=listen database=%s", database)

    def _leave_standby(
        self, database: int | None, item: _Watched, connection: psycopg.Connection[tuple[Any, ...]]
    ) -> None:
        """Come again later: a standby sends no notices, and models are loaded with their first prediction."""
        connection.close()
        if not item.standby:
            logger.info("event=listen_standby database=%s retry_s=%.0f", database, _STANDBY_DELAY)
        item.standby, item.retry_at = True, time.monotonic() + _STANDBY_DELAY

    def _close(self, item: _Watched) -> None:
        if item.connection is not None:
            with contextlib.suppress(KeyError, ValueError, psycopg.Error):
                self._selector.unregister(item.connection.fileno())
            item.connection.close()
            item.connection = None

    def _read(self, database: int | None) -> None:
        item = self._watched[database]
        if item.connection is None:
            return
        descriptor = item.connection.fileno()
        try:
            notices = list(item.connection.notifies(timeout=0))
        except psycopg.Error as error:
            self._lost(database, item, descriptor, error)
            return
        for notice in notices:
            self._hear(database, notice.payload)

    def _lost(self, database: int | None, item: _Watched, descriptor: int, error: psycopg.Error) -> None:
        """Take note that a connection is gone, and try again later."""
        # the descriptor is closed or about to be: it must leave the selector by its number
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(descriptor)
        if item.connection is not None:
            item.connection.close()
            item.connection = None
        item.retry_at = time.monotonic() + item.delay
        logger.warning("event=listen_lost database=%s error=%r", database, str(error))

    def _hear(self, database: int | None, payload: str) -> None:
        """Warm what was deployed; anybody may NOTIFY anything, so nothing is believed."""
        try:
            event = json.loads(payload)
            wanted = isinstance(event, dict) and event.get("event") in _EVENTS
            if wanted and isinstance(event.get("artifact"), str):
                self._warm(database, event["artifact"])
        except Exception as error:  # noqa: BLE001 - the first prediction will tell the user
            logger.warning("event=warm_failed database=%s error=%r", database, str(error))
