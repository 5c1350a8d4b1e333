"""PREDICT in the statements of a Django connection: the driver's cursors rewrite them."""

from __future__ import annotations

import importlib
from typing import Any

from django.utils.asyncio import async_unsafe


def install(wrapper: Any) -> None:
    """Have a wrapper's driver connection rewrite statements; done again, it changes nothing.

    :param wrapper: Django's, over PostgreSQL, connected
    """
    driver(wrapper).install(wrapper.connection)


def driver(wrapper: Any) -> Any:
    """Return our module for the driver that Django has chosen."""
    # one of the two may not be installed
    return importlib.import_module(f"pgpredict.{wrapper.Database.__name__}")


def predicting(wrapper: Any, cursor: Any, name: str | None) -> Any:
    """Return a cursor that rewrites.

    Those without a name come from the connection, where :func:`install` has been. Django makes cursors of the
    server's by a class of its own, which the connection is not asked for, and sets them up.
    """
    if name is not None:
        cursor.__class__ = driver(wrapper).predicting(type(cursor))
    return cursor


class Predicting:
    """Mixed into a database wrapper, it makes it one that predicts."""

    connection: Any

    def init_connection_state(self) -> None:
        """Install the hook into each new connection."""
        super().init_connection_state()  # type: ignore[misc]
        install(self)

    @async_unsafe  # type: ignore[untyped-decorator]
    def create_cursor(self, name: str | None = None) -> Any:
        """Return a cursor that rewrites."""
        return predicting(self, super().create_cursor(name), name)  # type: ignore[misc]


def on_connection(sender: Any, connection: Any, **_: Any) -> None:
    """Install the hook into a connection of any engine over PostgreSQL; a receiver of a signal."""
    if connection.vendor != "postgresql" or isinstance(connection, Predicting):
        return
    install(connection)
    create = type(connection).create_cursor

    @async_unsafe  # type: ignore[untyped-decorator]
    def create_cursor(name: str | None = None) -> Any:
        return predicting(connection, create(connection, name), name)

    connection.create_cursor = create_cursor
