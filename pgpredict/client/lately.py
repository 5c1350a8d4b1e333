"""What one connection has found out lately, and may take for granted for a moment.

A kept statement is right while its questions have the same answers; to ask them costs a round trip. A
connection that asks them again and again for the same statement, and has run nothing meanwhile that could
change an answer, does not ask within :data:`WINDOW`. What others commit is known after that time at the
latest; what the connection itself does is known at once.
"""

from __future__ import annotations

import re
import time
from typing import Generic, TypeVar

from rewriter.scan import mentions

T = TypeVar("T")

#: seconds for which answers are taken for granted
WINDOW = 0.1
#: texts that a connection takes for granted at the most
_MOST = 200
_PLAIN = re.compile(
    r"\s*\(*\s*(?:select|insert|update|delete|merge|with|values|table|fetch|copy|explain|begin|start|savepoint"
    r"|release|commit|end)\b"
)


class Lately(Generic[T]):
    """The statements that a connection has asked about within the last moment."""

    def __init__(self) -> None:
        self._taken: dict[object, tuple[float, T]] = {}
        #: whether the transaction has run what another one must not rely on
        self._dirty = False

    def look(self, sql: str, *, idle: bool) -> bool:
        """Take note of a statement that will be run; return whether it may hold our syntax.

        :param idle: whether no transaction is open
        """
        if idle and self._dirty:
            self.forget()
            self._dirty = False
        if not is_plain(sql):
            self.forget()
            self._dirty = True
        return mentions(sql)

    def get(self, key: object) -> T | None:
        """Return what may be taken for granted of a statement."""
        found = self._taken.get(key)
        if found is None or time.monotonic() - found[0] > WINDOW:
            return None
        return found[1]

    def put(self, key: object, made: T) -> None:
        """Take note of what was asked about just now."""
        if self._dirty:
            return
        if len(self._taken) >= _MOST:
            self._taken.clear()
        self._taken[key] = time.monotonic(), made

    def forget(self) -> bool:
        """Take nothing for granted; return whether anything was."""
        had = bool(self._taken)
        self._taken.clear()
        return had


def is_plain(sql: str) -> bool:
    """Tell whether a text can change nothing that an answer depends on, as far as words can tell."""
    lowered = sql.lower()
    return (
        _PLAIN.match(lowered) is not None
        and "set_config" not in lowered
        and "ml." not in lowered
        and ";" not in lowered[:-1]
        and " into " not in lowered[: 7 if lowered.startswith("insert") else None]
    )
