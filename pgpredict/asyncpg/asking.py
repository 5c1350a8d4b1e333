"""Asks an asyncpg connection; in a transaction behind a savepoint.

asyncpg does not say the modifiers of columns' types: a table that is made from a prediction beside a
``numeric(10, 2)`` has a ``numeric``; values are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
from asyncpg import exceptions

from pgpredict.catalog.answer import PlainAnswer
from pgpredict.catalog.errors import StatementRefused, refused
from pgpredict.catalog.questions import RELEASE, SAVEPOINT, UNDO, Description, Question
from rewriter.scan import scan

_LETTERS = {"M": "message", "C": "sqlstate", "H": "hint", "P": "position", "V": "severity_en"}
_CANCELED = "57014"


async def ask(connection: Any, questions: Sequence[Question]) -> list[PlainAnswer]:
    """Ask.

    :return: up to the first one that fails
    :raises StatementRefused: in a transaction that has failed, or if a cancel request came for a question
    """
    plain = asyncpg.Connection
    guarded = connection.is_in_transaction()
    if guarded:
        try:
            await plain.execute(connection, SAVEPOINT)
        except asyncpg.PostgresError as error:
            raise refused(_fields(error)) from None
    answers: list[PlainAnswer] = []
    for question in questions:
        answers.append(await _answer(connection, question))
        failed = answers[-1].error
        if failed is not None:
            if guarded and not connection.is_closed():
                await plain.execute(connection, UNDO)
            break
    if guarded and not connection.is_closed():
        await plain.execute(connection, RELEASE)
    if answers and answers[-1].error is not None and answers[-1].error["C"] == _CANCELED:
        raise refused(answers[-1].error)
    return answers


async def _answer(connection: Any, question: Question) -> PlainAnswer:
    plain = asyncpg.Connection
    if not isinstance(question, Description):
        try:
            value = await plain.fetchval(connection, question.as_json, *question.parameters)
        except exceptions.PostgresConnectionError:
            raise
        except asyncpg.PostgresError as error:
            return PlainAnswer(error=_fields(error))
        if value is not None and not isinstance(value, bytes):
            raise StatementRefused("PREDICT needs asyncpg's own codec of bytea, this connection has another")
        return PlainAnswer(value)
    sql, shifts = _renumbered(question.sql)
    try:
        return PlainAnswer(await _described(connection, sql))
    except exceptions.PostgresConnectionError:
        raise
    except asyncpg.PostgresError as error:
        fields = _fields(error)
        if "P" in fields:
            fields["P"] = str(int(fields["P"]) - _shift(shifts, int(fields["P"])))
        return PlainAnswer(error=fields)


async def _described(connection: Any, sql: str) -> tuple[tuple[str, int, int], ...]:
    """Return names and types of a query's columns; no more: asyncpg itself could not read some of the rows.

    It would make codecs for the columns. There is none for a row that has a value which it reads as text.
    """
    connection._check_open()
    protocol = connection._protocol
    record = protocol.get_record_class()
    state = await protocol.prepare("", sql, None, record_class=record, ignore_custom_codec=True)
    settings = protocol.get_settings()
    given: set[int] = set()
    try:
        # it tells of no column of a type without a codec; when it is given one, it forgets those that it made
        while unknown := [oid for oid in state._init_types() if settings.get_data_codec(oid) is None]:
            for oid in unknown:
                settings.add_python_codec(oid, "", "", [], "scalar", str, str, "text")
            given.update(unknown)
        return tuple((column.name, column.type.oid, -1) for column in state._get_attributes())
    finally:
        for oid in given:
            settings.remove_python_codec(oid, "", "")


def _fields(error: exceptions.PostgresError) -> dict[str, str]:
    values = {letter: getattr(error, name, None) for letter, name in _LETTERS.items()}
    return {"C": "XX000", **{letter: value for letter, value in values.items() if value}}


def _renumbered(sql: str) -> tuple[str, list[tuple[int, int]]]:
    """Give parameters numbers without gaps: those would have no type.

    :return: the query, and (position from which on, characters to be taken off there)
    """
    if "$" not in sql:
        return sql, []
    numbers: dict[str, int] = {}
    pieces: list[str] = []
    shifts: list[tuple[int, int]] = []
    position = shift = 0
    for token in scan(sql):
        if token.kind != "param":
            continue
        text = f"${numbers.setdefault(token.text, len(numbers) + 1)}"
        pieces += [sql[position : token.start], text]
        position = token.end
        shift += len(text) - len(token.text)
        shifts.append((token.end + 1 + shift, shift))
    return "".join([*pieces, sql[position:]]), shifts


def _shift(shifts: Sequence[tuple[int, int]], position: int) -> int:
    return next((shift for start, shift in reversed(shifts) if position >= start), 0)
