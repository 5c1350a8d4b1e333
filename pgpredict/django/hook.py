"""PREDICT in the statements of a Django connection: its cursors are the driver's that rewrite."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable
from typing import Any

from django.db import utils
from django.utils.asyncio import async_unsafe

_FORM = re.compile(r"\b(?:PREDICT|PROBABILITY|PREDICTION_SET)\b", re.IGNORECASE)


def predicting_cursor(wrapper: Any, create: Callable[[str | None], Any], name: str | None) -> Any:
    """Return a cursor that rewrites.

    The connection keeps the cursor classes that it has, which the settings may name: others look at them.

    :param wrapper: Django's, over PostgreSQL, connected
    :param create: makes Django's own cursor
    :param name: of a cursor of the server's
    """
    predicting = _driver(wrapper).predicting
    connection = wrapper.connection
    # psycopg2 has one class for all
    separate = name and hasattr(connection, "server_cursor_factory")
    attribute = "server_cursor_factory" if separate else "cursor_factory"
    kind = getattr(connection, attribute)
    setattr(connection, attribute, predicting(kind))
    try:
        cursor = create(name)
    finally:
        setattr(connection, attribute, kind)
    if name:
        # or of a class of Django's own, which the connection was not asked for
        cursor.__class__ = predicting(type(cursor))
    return cursor


def as_written(operations: Any, cursor: Any, sql: Any, params: Any, sent: Callable[..., Any]) -> Any:
    """Return a statement for ``connection.queries`` and logs: with PREDICT in it, as the ORM has written it.

    It is shown with its values, as Django does, which takes what the driver has sent.

    :param operations: of the database
    :param sent: Django's own way
    """
    if isinstance(sql, str) and _FORM.search(sql):
        # whatever cannot be written out, or by whom
        with contextlib.suppress(utils.Error, operations.connection.Database.Error):
            return operations.compose_sql(sql, params)
    return sent(cursor, sql, params)


def _driver(wrapper: Any) -> Any:
    """Return our module for the driver that Django has chosen; the other one may not be installed."""
    return importlib.import_module(f"pgpredict.{wrapper.Database.__name__}")


class Predicting:
    """Mixed into a database wrapper, it makes it one that predicts."""

    connection: Any

    @async_unsafe  # type: ignore[untyped-decorator]
    def create_cursor(self, name: str | None = None) -> Any:
        """Return a cursor that rewrites."""
        return predicting_cursor(self, super().create_cursor, name)  # type: ignore[misc]


def on_connection(sender: Any, connection: Any, **_: Any) -> None:
    """Have the cursors of any engine over PostgreSQL rewrite; a receiver of ``connection_created``."""
    if connection.vendor != "postgresql" or isinstance(connection, Predicting):
        return
    if vars(connection.ops).get("_predicting"):
        # it was connected before
        return
    connection.ops._predicting = True
    create = type(connection).create_cursor

    @async_unsafe  # type: ignore[untyped-decorator]
    def create_cursor(name: str | None = None) -> Any:
        return predicting_cursor(connection, lambda name: create(connection, name), name)

    connection.create_cursor = create_cursor
    sent = connection.ops.last_executed_query

    def last_executed_query(cursor: Any, sql: Any, params: Any) -> Any:
        return as_written(connection.ops, cursor, sql, params, sent)

    connection.ops.last_executed_query = last_executed_query
