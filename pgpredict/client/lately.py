"""What one connection has found out lately, and may take for granted for a moment.

A kept statement is right while its questions have the same answers; to ask them costs a round trip. A
connection that asks them again and again for the same statement, and has run nothing meanwhile that could
change an answer, does not ask within :data:`WINDOW`. What others commit is known after that time at the
latest; what the connection itself does is known at once. Where somebody listens for deployments these are
known when they are heard of, and the rest after the listener's time.
"""

from __future__ import annotations

import re
import time
from typing import Generic, TypeVar

from pgpredict.catalog.deployments import Deployments
from rewriter.scan import mentions

T = TypeVar("T")

#: seconds for which answers are taken for granted
WINDOW = 0.1
#: texts that a connection takes for granted at the most
_MOST = 200
_PLAIN = re.compile(
    r"(?>\s+|--[^\n]*\n|/\*.*?\*/|\()*+(?:select|insert|update|delete|merge|with|values|table|fetch|copy|explain|begin|start|savepoint"
    r"|release|commit|end)\b",
    re.DOTALL,
)


class Lately(Generic[T]):
    """The statements that a connection has asked about within the last moment."""

    def __init__(self) -> None:
        #: key -> when and in which state of the deployments it was asked about
        self._taken: dict[object, tuple[float, int, T]] = {}
        #: whether what was made of the last statement with our syntax was taken for granted
        self.took = False
        #: the listener, if there is one
        self.deployments: Deployments | None = None
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
        self.took = found is not None and self._holds(found[0], found[1])
        return found[2] if found is not None and self.took else None

    def _holds(self, since: float, number: int) -> bool:
        heard, window = self.deployments, WINDOW
        if heard is not None and heard.hears:
            if heard.number != number:
                return False
            window = heard.seconds
        return time.monotonic() - since <= window

    def put(self, key: object, made: T) -> None:
        """Take note of what was asked about just now."""
        if self._dirty:
            return
        if len(self._taken) >= _MOST:
            self._taken.clear()
        number = -1 if self.deployments is None else self.deployments.number
        self._taken[key] = time.monotonic(), number, made

    def forget(self) -> bool:
        """Take nothing for granted; return whether the last statement's was."""
        took, self.took = self.took, False
        self._taken.clear()
        return took


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
