"""What the words of a statement tell at a glance; every statement that passes a hook pays for this."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from rewriter.scan import mentions

#: texts that are remembered for all connections, and their longest
_MOST, _LONGEST = 1_000, 2_000
_PLAIN = re.compile(
    # a comment in a comment is not looked through
    r"(?>\s+|--[^\n]*\n|/\*(?:(?!/\*).)*?\*/|\()*+(?:select|insert|update|delete|merge|with|values|table|fetch"
    r"|copy|begin|start|savepoint|release|commit|end)\b",
    re.DOTALL,
)
#: functions that change what the session or all sessions see, and their schema
_FUNCTIONS = ("set_config", "ml", "deploy", "rollback", "drop_model", "register_version")


class Glance(NamedTuple):
    """What is seen.

    :ivar mentions: whether the text may hold our syntax
    :ivar is_plain: whether it can change nothing that an answer depends on
    :ivar is_single: whether it is one statement
    """

    mentions: bool
    is_plain: bool
    is_single: bool


def glance(sql: str | bytes) -> Glance:
    """Look at a text.

    :param sql: as bytes in any encoding that has ASCII's letters as ASCII has them
    """
    return _remembered(sql) if len(sql) <= _LONGEST else _look(sql)


def _look(sql: str | bytes) -> Glance:
    text = sql if isinstance(sql, str) else sql.decode("latin-1")
    return Glance(mentions(text), is_plain(text), ";" not in text.rstrip()[:-1])


_remembered = functools.lru_cache(_MOST)(_look)


def is_plain(sql: str) -> bool:
    """Tell whether a text can change nothing that an answer depends on, as far as words can tell."""
    lowered = sql.lower()
    if _PLAIN.match(lowered) is None or ";" in lowered[:-1]:
        return False
    # SELECT INTO makes a table
    if not all(lowered[:at].rstrip().endswith(("insert", "merge")) for at in _places(lowered, "into")):
        return False
    return not any(True for word in _FUNCTIONS for _ in _places(lowered, word))


def _places(text: str, word: str) -> Iterator[int]:
    """Yield where a word stands by itself; a regular expression takes twenty times as long to find none."""
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        before, after = text[at - 1 : at], text[end : end + 1]
        if not (before.isalnum() or before == "_" or after.isalnum() or after == "_"):
            yield at
        at = text.find(word, end)
