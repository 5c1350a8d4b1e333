"""EXPLAIN (PREDICT): a report of what is predicted and how, above PostgreSQL's plan.

The option is taken out of the list, the rest of the statement is rewritten as ever, and what is sent has a
function run it that puts the report before the plan's lines::

    SELECT * FROM ml.explain(ARRAY['...', ...], 'EXPLAIN (ANALYZE) SELECT ...')
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .errors import MalformedForm, NotSupported
from .names import literal
from .report import Report, to_json, to_lines
from .scan import Token
from .scope import is_word, matching

__all__ = ["Explained", "Report", "find_explain"]

_ON = ("true", "on", "1")
_OFF = ("false", "off", "0")
_FORMATS = ("text", "json")


@dataclasses.dataclass(frozen=True)
class Explained:
    """An EXPLAIN with our option.

    :ivar sql: the statement without it, in as many characters
    :ivar reports: whether the option is on
    """

    sql: str
    reports: bool
    as_json: bool

    def statement(self, rewritten: str, report: Report) -> str:
        """Return the statement that reports and explains.

        :param rewritten: :attr:`sql` as PostgreSQL is to be given it
        """
        if self.as_json:
            value = literal(to_json(report))
            return f"SELECT * FROM ml.explain_json({value}::pg_catalog.jsonb, {literal(rewritten)})"  # noqa: S608
        lines = ", ".join(literal(line) for line in to_lines(report))
        return f"SELECT * FROM ml.explain(ARRAY[{lines}]::pg_catalog.text[], {literal(rewritten)})"  # noqa: S608


def find_explain(sql: str, tokens: Sequence[Token]) -> Explained | None:
    """Return an EXPLAIN that has our option; None for any other statement.

    :raises NotSupported: for a format that has no place for the report, or for parameters
    :raises MalformedForm: for a value that the option does not take
    """
    if not is_word(tokens, 0, "explain") or len(tokens) < 2 or tokens[1].text != "(":
        return None
    close = matching(tokens, 1)
    options = _options(tokens, close)
    ours = [option for option in options if is_word(tokens, option.start, "predict")]
    if not ours:
        return None
    # of an option that is given twice the last counts, as PostgreSQL has it
    reports = [_is_on(tokens, option) for option in ours][-1]
    format_ = _format(tokens, options)
    parameter = next((token for token in tokens if token.kind == "param"), None)
    if reports and parameter is not None:
        raise NotSupported(
            "EXPLAIN (PREDICT) takes no parameters",
            hint=f"write a value in the place of {parameter.text}, or leave the option PREDICT out",
            position=parameter.start + 1,
        )
    if reports and format_ is not None and format_[0] not in _FORMATS:
        raise NotSupported(
            f"EXPLAIN (PREDICT) has no format {format_[0]}",
            hint="its formats are TEXT and JSON",
            position=format_[1].start + 1,
        )
    return Explained(
        _without(sql, tokens, options, close), reports, format_ is not None and format_[0] == "json"
    )


def _options(tokens: Sequence[Token], close: int) -> list[range]:
    """Return the token range of each option, without the commas."""
    commas = [index for index in range(2, close) if tokens[index].text == "," and tokens[index].depth == 1]
    starts = [2, *(comma + 1 for comma in commas)]
    return [range(start, end) for start, end in zip(starts, [*commas, close], strict=True) if start < end]


def _value(token: Token) -> str:
    return token.text.strip("'").lower()


def _is_on(tokens: Sequence[Token], option: range) -> bool:
    if len(option) == 1:
        return True
    value = tokens[option.start + 1]
    if len(option) > 2 or _value(value) not in (*_ON, *_OFF):
        raise MalformedForm("PREDICT requires a Boolean value", position=value.start + 1)
    return _value(value) in _ON


def _format(tokens: Sequence[Token], options: Sequence[range]) -> tuple[str, Token] | None:
    found = None
    for option in options:
        if is_word(tokens, option.start, "format") and len(option) == 2:
            found = _value(tokens[option.start + 1]), tokens[option.start + 1]
    return found


def _without(sql: str, tokens: Sequence[Token], options: Sequence[range], close: int) -> str:
    """Blank our options, and the list if nothing else is in it."""
    others = [option for option in options if not is_word(tokens, option.start, "predict")]
    if not others:
        return _blank(sql, tokens[1].start, tokens[close].end)
    for option in options:
        if option in others:
            continue
        comma = tokens[option.stop].text == ","
        # its own comma goes along: the one behind it, or behind the last option the one before
        first = option.start if comma or option.stop != close else option.start - 1
        sql = _blank(sql, tokens[first].start, tokens[option.stop if comma else option.stop - 1].end)
    return sql


def _blank(sql: str, start: int, end: int) -> str:
    kept = "".join(character if character in "\r\n" else " " for character in sql[start:end])
    return sql[:start] + kept + sql[end:]
