"""What was found out about statements, kept together with the questions and the answers that led to it.

When the same text comes again these questions are asked again, all of them in one round trip and in the
session itself, and if the answers are the same, so is the result. No message about a deployment, a grant, a
search_path or a table can be missed this way, since none is needed.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .questions import Answer, Question
from .session import Finding

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

#: texts that are kept at the most, and what was found for each in sessions that see different things
ENTRIES, VARIANTS = 1_000, 4
#: bytes of texts, questions and answers that are kept at the most
LARGEST = 64 << 20
#: characters of a longer text are not kept: it is a load of rows, which does not come again
LONGEST = 100_000
#: seconds after which the server's estimates are asked for again
_FRESH = 60.0


@dataclass
class Kept(Generic[T]):
    """What was made of a text.

    :ivar findings: what that depends on
    :ivar size: of all this, roughly, in bytes
    """

    made: T
    findings: Sequence[Finding]
    size: int
    since: float = field(default_factory=time.monotonic)

    @property
    def is_fresh(self) -> bool:
        """Whether it is young enough, or holds whatever the database has."""
        return not self.findings or time.monotonic() - self.since <= _FRESH

    @property
    def questions(self) -> list[Question]:
        """What has to be asked again."""
        return [question for question, _ in self.findings]

    def holds(self, answers: Sequence[Answer]) -> bool:
        """Tell whether these answers to its questions are those that led to it."""
        return [answer.value for answer in answers] == [value for _, value in self.findings] and all(
            answer.error is None for answer in answers
        )


class Shelf(Generic[K, T]):
    """Keeps what was made of texts, the longest unused is given up first; safe to share by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, list[Kept[T]]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def variants(self, key: K) -> Sequence[Kept[T]]:
        """Return what was made of a text, the latest first."""
        return tuple(self._kept.get(key, ()))

    def keep(self, key: K, made: Kept[T]) -> None:
        """Keep one as the latest."""
        with self._lock:
            variants = self._kept.pop(key, [])
            self.size -= sum(kept.size for kept in variants)
            # one that is too old only costs a question
            fresh = [kept for kept in variants if kept is not made and kept.is_fresh]
            self._kept[key] = variants = [made, *fresh][:VARIANTS]
            self.size += sum(kept.size for kept in variants)
            while len(self._kept) > ENTRIES or self.size > LARGEST:
                _, forgotten = self._kept.popitem(last=False)
                self.size -= sum(kept.size for kept in forgotten)


def size(texts: int, findings: Sequence[Finding]) -> int:
    """Return the size of what was found.

    :param texts: length of the user's text and of what became of it
    """
    told = (len(value) if isinstance(value, bytes) else 100 for _, value in findings)
    return texts + sum(len(question.sql) for question, _ in findings) + sum(told)
