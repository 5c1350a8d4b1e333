"""A Query of a failed transaction whose first statement ends that: ``ROLLBACK; SELECT PREDICT(m)``.

Nothing can be asked in a failed transaction, so that first statement has to run before the rest is
rewritten. To PostgreSQL the two are alike in one message or in two: behind ROLLBACK and COMMIT a new implicit
transaction begins, behind ROLLBACK TO and AND CHAIN the transaction goes on. So the statement is sent alone,
its ReadyForQuery stays here, and the rest follows. Two things would differ and are seen to before:

- A syntax error in the rest makes PostgreSQL refuse the whole message. It is asked, with a plain call in each
  form's place. A text that it does not parse, and that has forms which are no calls, is refused.
- A single statement behind ROLLBACK or COMMIT is no longer in an implicit block of several. DECLARE and CALL
  care, and are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from pgpredict.catalog.errors import StatementRefused, TransactionFailed, refused
from rewriter import RewriteError, split
from rewriter.explain import find_explain
from rewriter.forms import find_calls
from rewriter.scan import Token, scan
from rewriter.splice import Mark, Span, Splicer
from rewriter.sugar import desugar

from .changes import Origin
from .questions import Answer
from .statement import Statement

_SYNTAX_ERROR = "42601"
_ENDS = frozenset(("rollback", "abort", "commit", "end"))
#: statements that are others within an implicit transaction block
_CARE = frozenset(("declare", "call"))
#: a call that is one wherever a form may stand
_CALL = "predict()"


class _Asked(Exception):
    """The catalog was asked."""


class _Blind:
    """A catalog that must not be asked."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        def ask(*args: Any, **kwargs: Any) -> NoReturn:
            raise _Asked

        return ask


@dataclass(frozen=True)
class Leaving:
    """A text whose first statement ends the failed state of a transaction.

    :ivar first: that statement, and what is before it
    :ivar rest: what follows
    :ivar outline: the whole with plain calls in place of forms
    :ivar origin: where a position in the outline lies in the whole
    :ivar is_plain: whether PostgreSQL must accept the outline if nothing is wrong
    """

    first: str
    rest: str
    outline: str
    origin: Origin
    is_plain: bool

    def check(self, answer: Answer) -> None:
        """See what the server says to the outline, which it must refuse for being several statements.

        :raises RewriteError: for a syntax error
        :raises StatementRefused: for another error
        :raises TransactionFailed: if it cannot be told whether something is wrong
        """
        error = answer.error or {}
        position = error.get("P")
        if error.get("C") != _SYNTAX_ERROR:
            raise refused(error) if error else StatementRefused("the statement is one to the server")
        if position is None:
            return
        if not self.is_plain:
            raise failed()
        raise RewriteError(error.get("M", ""), error.get("H"), self.origin(int(position)), _SYNTAX_ERROR)

    def behind(self, origin: Origin) -> Origin:
        """Return where a position lies in the whole text.

        :param origin: where it lies in the rest
        """

        def whole(position: int) -> int | None:
            place = origin(position)
            return None if place is None else place + len(self.first)

        return whole


def failed() -> TransactionFailed:
    """Return the error of a failed transaction, for a message that would be answered if it were two."""
    error = TransactionFailed()
    error.hint = "send the ROLLBACK or COMMIT in a message of its own, then the statement with PREDICT"
    return error


def find_leaving(statement: Statement, encoding: str) -> Leaving | None:
    """Return how a text is taken apart that ends the failed state of a transaction; None if it does not.

    :raises RewriteError: for a form that is wrong
    :raises TransactionFailed: if another statement of it depends on being in the same message
    """
    if statement.kind != ord("Q"):
        return None
    text = statement.sql.decode(encoding)
    parts = [(start, part, scan(part)) for start, part in split(text)]
    filled = [
        number for number, (_, _, tokens) in enumerate(parts) if any(token.text != ";" for token in tokens)
    ]
    if len(filled) < 2 or not _ends_failure(words := _words(parts[filled[0]][2])):
        return None
    begins_anew = "to" not in words and ("chain" not in words or "no" in words)
    if begins_anew and len(filled) == 2 and _words(parts[filled[1]][2])[0] in _CARE:
        raise failed()
    behind = parts[filled[0] + 1 :]
    cut = behind[0][0]
    outlines = [_outline(*each) for each in behind]
    # of the same length
    splicer = Splicer(text[:cut] + "".join(part for part, _, _ in outlines))
    for _, spans, _ in outlines:
        for span in spans:
            splicer.replace(span, [_CALL])
    outline = splicer.render([Span(0, len(text)), Mark(len(text))])
    is_plain = all(is_plain for _, _, is_plain in outlines)
    return Leaving(text[:cut], text[cut:], outline.sql, outline.origin, is_plain)


def _ends_failure(words: list[str]) -> bool:
    if words[0] == "prepare":
        return words[1:2] == ["transaction"]
    return words[0] in _ENDS and words[1:2] != ["prepared"]


def _words(tokens: list[Token]) -> list[str]:
    return [token.text if token.kind == "word" else "" for token in tokens]


def _outline(start: int, part: str, tokens: list[Token]) -> tuple[str, list[Span], bool]:
    """Return a statement without options of ours, where its forms are, and whether there is no other syntax.

    :param start: where it begins in the text that the forms are placed into
    """
    try:
        explained = find_explain(part, tokens)
        if explained is not None:
            part, tokens = explained.sql, scan(explained.sql)
        calls = find_calls(tokens)
    except RewriteError as error:
        error.position = None if error.position is None else error.position + start
        raise
    try:
        is_plain = desugar(part, tokens, _Blind()) is None
    except (_Asked, RewriteError):
        is_plain = False
    return part, [Span(start + call.span.start, start + call.span.end) for call in calls], is_plain
