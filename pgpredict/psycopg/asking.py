"""Asks a psycopg connection, all questions in one round trip.

Outside of a transaction nothing is begun; inside of one the questions stand behind a savepoint, so that a
refused one does not abort the user's work. In the user's own pipeline they wait for what was sent before, and
end nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import generators, pq
from psycopg.abc import PQGen

from pgpredict.catalog.answer import PlainAnswer
from pgpredict.catalog.errors import TransactionFailed, Untranslatable, refused
from pgpredict.catalog.questions import RELEASE, SAVEPOINT, UNDO, Description, Question

from .errors import told

_CANCELED = "57014"


def asked(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], questions: Sequence[Question]
) -> PQGen[list[PlainAnswer]]:
    """Ask, as a generator for the connection's ``wait``.

    :return: up to the first one that fails
    :raises TransactionFailed: in a transaction that has failed
    :raises StatementRefused: if a cancel request or the like came for a question
    """
    pgconn, encoding = connection.pgconn, connection.info.encoding
    if pgconn.transaction_status == pq.TransactionStatus.INERROR:
        raise TransactionFailed
    try:
        commands = [_commands(pgconn, question, encoding) for question in questions]
    except UnicodeError as error:
        raise Untranslatable(error) from error
    guarded = pgconn.transaction_status == pq.TransactionStatus.INTRANS
    pipeline = connection._pipeline
    piped = pipeline is not None
    if pipeline is not None:
        yield from pipeline._communicate_gen()
        yield from pipeline._fetch_gen(flush=True)
    else:
        pgconn.enter_pipeline_mode()
    try:
        answers = yield from _exchange(pgconn, commands, encoding, guarded=guarded, piped=piped)
    finally:
        if pipeline is None and pgconn.status == pq.ConnStatus.OK:
            pgconn.exit_pipeline_mode()
    failed = answers[-1].error if answers else None
    if failed is not None and failed.get("C") == _CANCELED:
        # psycopg's own, which it expects where it has sent the request itself
        raise told(failed)
    return answers


_Command = Callable[[], None]


def _commands(pgconn: pq.abc.PGconn, question: Question, encoding: str) -> list[_Command]:
    if isinstance(question, Description):
        sql = question.sql.encode(encoding)
        return [
            lambda: pgconn.send_prepare(b"", sql, question.types),
            lambda: pgconn.send_describe_prepared(b""),
        ]
    values = [None if text is None else text.encode(encoding) for text in question.texts]
    text = question.as_json.encode(encoding)
    return [lambda: pgconn.send_query_params(text, values, result_format=pq.Format.BINARY)]


def _exchange(
    pgconn: pq.abc.PGconn, groups: Sequence[Sequence[_Command]], encoding: str, *, guarded: bool, piped: bool
) -> PQGen[list[PlainAnswer]]:
    commands: list[_Command] = [command for group in groups for command in group]
    if guarded:
        commands = [
            lambda: pgconn.send_query_params(SAVEPOINT.encode(), None),
            *commands,
            lambda: pgconn.send_query_params(RELEASE.encode(), None),
        ]
    end = pgconn.send_flush_request if piped else pgconn.pipeline_sync
    results = yield from generators.pipeline_communicate(pgconn, deque([*commands, end]))
    while len(results) < len(commands) + (not piped):
        results.append((yield from generators.fetch_many(pgconn)))
    last = [_chosen(group) for group in results]
    if guarded:
        if last[0].status == pq.ExecStatus.FATAL_ERROR:
            raise refused(_fields(last[0], encoding))
        last = last[1:]
    answers: list[PlainAnswer] = []
    for group in groups:
        for result in last[: len(group)]:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                answers.append(PlainAnswer(error=_fields(result, encoding)))
                if guarded:
                    yield from _undo(pgconn)
                return answers
        answers.append(_answer(last[len(group) - 1], encoding))
        last = last[len(group) :]
    return answers


def _chosen(results: Sequence[pq.abc.PGresult]) -> pq.abc.PGresult:
    """Return the result of one command; after a stream of the user's libpq may give its one row apart."""
    if not results:
        raise psycopg.OperationalError("the connection is lost")
    return next((result for result in results if result.ntuples), results[-1])


def _undo(pgconn: pq.abc.PGconn) -> PQGen[None]:
    for command in (UNDO, RELEASE):
        pgconn.send_query_params(command.encode(), None)
    pgconn.pipeline_sync()
    yield from generators.send(pgconn)
    for _ in range(3):
        yield from generators.fetch_many(pgconn)


def _answer(result: pq.abc.PGresult, encoding: str) -> PlainAnswer:
    if result.ntuples:
        return PlainAnswer(bytes(result.get_value(0, 0) or b"") or None)
    return PlainAnswer(
        tuple(
            ((result.fname(i) or b"").decode(encoding), result.ftype(i), result.fmod(i))
            for i in range(result.nfields)
        )
    )


def _fields(result: pq.abc.PGresult, encoding: str) -> dict[str, str]:
    fields = {}
    for field in pq.DiagnosticField:
        value = result.error_field(field)
        if value is not None:
            fields[chr(field)] = value.decode(encoding, "replace")
    return fields
