"""What one connection has found out lately, and may take for granted for a moment.

A kept statement is right while its questions have the same answers; to ask them costs a round trip. A
connection that asks them again and again for the same statement, and has run nothing meanwhile that could
change an answer, does not ask within :data:`WINDOW`. What others commit is known after that time at the
latest; what the connection itself does is known at once. Where somebody listens for deployments these are
known when they are heard of, and the rest after the listener's time.

What was asked within a transaction is forgotten with it: it may be of the transaction's snapshot.
"""

from __future__ import annotations

import threading
import time
from typing import Generic, TypeVar

from pgpredict.catalog.deployments import Deployments

from .glance import glance

T = TypeVar("T")

#: seconds for which answers are taken for granted
WINDOW = 0.1
#: texts that a connection takes for granted at the most, and their longest
_MOST, _LONGEST = 100, 10_000


class Lately(Generic[T]):
    """The statements that a connection has asked about within the last moment.

    :ivar lock: for drivers that have none of their own around a question
    :ivar took: whether what was made of the last statement with our syntax was taken for granted
    :ivar deployments: the listener, if there is one
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.took = False
        self.deployments: Deployments | None = None
        #: key -> when and in which state of the deployments it was asked about, and what came of it
        self._taken: dict[str | tuple[object, ...], tuple[float, int, T]] = {}
        #: those that were asked about in the transaction that is open
        self._within: set[str | tuple[object, ...]] = set()
        #: whether the transaction has run what another one must not rely on
        self._dirty = False
        self._idle = True
        self._began: tuple[float, int] = (0.0, -1)

    def look(self, sql: str | bytes, *, idle: bool, alone: bool = False) -> bool:
        """Take note of a statement that will be run; return whether it may hold our syntax.

        :param sql: as bytes in the client's encoding, whatever that is
        :param idle: whether no transaction is open
        :param alone: whether the statement is a transaction of its own then
        """
        self._idle = idle
        if idle:
            for key in self._within:
                self._taken.pop(key, None)
            self._within.clear()
            if self._dirty:
                self.forget()
                self._dirty = False
        seen = glance(sql)
        if not seen.is_plain:
            self.forget()
            self._dirty = not (idle and alone) or not seen.is_single
        return seen.mentions

    def get(self, key: str | tuple[object, ...]) -> T | None:
        """Return what may be taken for granted of a statement."""
        heard = self.deployments
        # what is going to be asked is as old as this moment, however long the answers take
        self._began = time.monotonic(), -1 if heard is None else heard.number
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

    def put(self, key: str | tuple[object, ...], made: T) -> None:
        """Take note of what :meth:`get` has not found, and was asked about since."""
        if self._dirty or len(str(key[0] if isinstance(key, tuple) else key)) > _LONGEST:
            return
        if len(self._taken) >= _MOST:
            self.forget()
        self._taken[key] = (*self._began, made)
        if not self._idle:
            self._within.add(key)

    def is_stale(self, sqlstate: str | None, *, alone: bool) -> bool:
        """Tell whether the last statement failed for what others changed in the last moment, and did nothing.

        Nothing is taken for granted from then on.

        :param sqlstate: of its error
        :param alone: whether it was a transaction of its own, so that it may be sent again
        """
        return self.forget() and alone and (sqlstate or "").startswith("42")

    def forget(self) -> bool:
        """Take nothing for granted; return whether the last statement's was."""
        took, self.took = self.took, False
        self._taken.clear()
        self._within.clear()
        return took
