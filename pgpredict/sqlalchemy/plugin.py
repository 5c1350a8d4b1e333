"""The engine plugin: ``create_engine(url, plugins=["pgpredict"])``.

Statements are rewritten by the driver's connections (``pgpredict.psycopg`` and its like), below SQLAlchemy,
which compiles, caches, logs and reports what the user wrote. The plugin only makes an engine's connections
such ones. An engine whose server is the proxy may have it as well: there is nothing left to rewrite there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import URL, Engine, event, exc
from sqlalchemy.engine import CreateEnginePlugin

from pgpredict.catalog.deployments import Deployments

from .registry import INSTALLED, QUERY, registry

logger = logging.getLogger("pgpredict.sqlalchemy")

#: what is known of the models is asked again when an engine connects, but not more often than this
SECONDS = 60.0
_HINT = "postgresql+psycopg, postgresql+psycopg2 and postgresql+asyncpg are"


class Plugin(CreateEnginePlugin):
    """Makes the connections of an engine understand PREDICT.

    It takes ``create_engine(…, pgpredict_deployments=…)``: a :class:`pgpredict.catalog.Deployments` by which
    deployments are heard of, so that answers may be taken for granted for longer.

    :raises ArgumentError: for another database or driver
    """

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        self._deployments: Deployments | None = kwargs.pop("pgpredict_deployments", None)

    def update_url(self, url: URL) -> URL:
        """Check that this is a database and a driver that the plugin is for."""
        dialect = url.get_dialect()
        if url.get_backend_name() != "postgresql" or dialect.driver not in _INSTALL:
            raise exc.ArgumentError(
                f"the plugin pgpredict is not for {url.drivername!r} (hint: {_HINT})",
            )
        return url

    def engine_created(self, engine: Engine) -> None:
        """Listen to the engine's pool."""
        _INSTALL[engine.dialect.driver](engine, self._deployments)
        event.listen(engine, "connect", _Teller(engine))


class _Teller:
    """Asks the database of a new connection what its models predict."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._asked = engine, float("-inf")

    def __call__(self, connection: Any, record: Any) -> None:
        now = time.monotonic()
        if now - self._asked < SECONDS:
            return
        self._asked = now
        try:
            registry.learn(self._engine, _told(connection))
        except self._engine.dialect.loaded_dbapi.Error as error:
            # expressions do without: an application that predicts nothing must not fail to connect
            logger.warning("types of predictions are not known: %s", error)


def _told(connection: Any) -> dict[str, str]:
    cursor = connection.cursor()
    try:
        if connection.autocommit:
            cursor.execute("BEGIN")
        # whoever alters the extension holds its tables for a while; that is no reason to wait
        cursor.execute("SET LOCAL lock_timeout = '1s'")
        cursor.execute(INSTALLED)
        if not cursor.fetchone()[0]:
            return {}
        cursor.execute(QUERY)
        return dict(cursor.fetchall())
    finally:
        if connection.autocommit:
            cursor.execute("ROLLBACK")
        cursor.close()
        connection.rollback()


def _install(engine: Engine, install: Callable[[Any], None]) -> None:
    """Have each new connection of the driver's made ours, before what others do with it."""
    event.listen(engine, "connect", lambda _, record: install(record.driver_connection), insert=True)


def _psycopg(engine: Engine, deployments: Deployments | None) -> None:
    from pgpredict.psycopg import install

    _install(engine, lambda connection: install(connection, deployments))


def _psycopg2(engine: Engine, deployments: Deployments | None) -> None:
    from pgpredict.psycopg2 import install

    _install(engine, lambda connection: install(connection, deployments))


def _asyncpg(engine: Engine, deployments: Deployments | None) -> None:
    from pgpredict.asyncpg import Connection, listen_with

    from .prepared import make_predicting

    def connecting(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:
        # for whoever takes the driver's own connection
        parameters.setdefault("connection_class", Connection)

    def connected(connection: Any, record: Any) -> None:
        make_predicting(connection)
        if deployments is not None:
            listen_with(record.driver_connection, deployments)

    event.listen(engine, "do_connect", connecting)
    event.listen(engine, "connect", connected, insert=True)


#: SQLAlchemy's name of a driver -> what makes an engine's connections ours
_INSTALL: dict[str, Callable[[Engine, Deployments | None], None]] = {
    "psycopg": _psycopg,
    "psycopg_async": _psycopg,
    "psycopg2": _psycopg2,
    "asyncpg": _asyncpg,
}
