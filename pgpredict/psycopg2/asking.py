"""Asks a psycopg2 connection, all questions in one round trip; in a transaction behind a savepoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg2
import psycopg2.extensions

from pgpredict.catalog.answer import PlainAnswer
from pgpredict.catalog.errors import TransactionFailed, Untranslatable, refused
from pgpredict.catalog.questions import RELEASE, SAVEPOINT, UNDO, Description, Question

from . import libpq as pq

_CANCELED = "57014"


def ask(connection: Any, questions: Sequence[Question]) -> list[PlainAnswer]:
    """Ask.

    :return: up to the first one that fails
    :raises TransactionFailed: in a transaction that has failed
    :raises StatementRefused: if a cancel request or the like came for a question, or the connection ended
    """
    status = connection.info.transaction_status
    if status == psycopg2.extensions.TRANSACTION_STATUS_INERROR:
        raise TransactionFailed
    guarded = status == psycopg2.extensions.TRANSACTION_STATUS_INTRANS
    encoding = psycopg2.extensions.encodings[connection.encoding]
    pgconn, libpq = connection.pgconn_ptr, pq.libpq()
    try:
        sends = [_send(libpq, pgconn, question, encoding) for question in questions]
    except UnicodeError as error:
        raise Untranslatable(error) from error
    if guarded:
        sends = [_command(libpq, pgconn, SAVEPOINT), *sends, _command(libpq, pgconn, RELEASE)]
    try:
        answers = _exchange(libpq, pgconn, sends, encoding)
    finally:
        if libpq.PQstatus(pgconn):
            connection.close()  # nothing can come of it, and psycopg2 would not notice
    failed = answers[-1].error
    if connection.closed:
        raise psycopg2.OperationalError("connection is closed") if failed is None else refused(failed)
    if failed is not None and guarded and len(answers) > 1:
        _exchange(libpq, pgconn, [_command(libpq, pgconn, UNDO), _command(libpq, pgconn, RELEASE)], encoding)
    if failed is not None and (failed.get("C") == _CANCELED or (guarded and len(answers) == 1)):
        raise refused(failed)
    if not guarded:
        return answers
    return answers[1:-1] if failed is None else answers[1:]


_Send = Callable[[], int]


def _command(libpq: pq.Libpq, pgconn: int, sql: str) -> _Send:
    def send() -> int:
        libpq.send_query(pgconn, sql.encode(), ())
        return 1

    return send


def _send(libpq: pq.Libpq, pgconn: int, question: Question, encoding: str) -> _Send:
    """Return a function that sends a question, and returns how many results will come."""
    if isinstance(question, Description):
        query, types = question.sql.encode(encoding), question.types

        def describe() -> int:
            libpq.send_prepare(pgconn, query, types)
            libpq.send_describe(pgconn)
            return 2

        return describe
    text = question.as_json.encode(encoding)
    values = [None if value is None else value.encode(encoding) for value in question.texts]

    def send() -> int:
        libpq.send_query(pgconn, text, values)
        return 1

    return send


def _exchange(libpq: pq.Libpq, pgconn: int, sends: Sequence[_Send], encoding: str) -> list[PlainAnswer]:
    if not libpq.PQenterPipelineMode(pgconn):
        raise psycopg2.OperationalError(libpq.PQerrorMessage(pgconn).decode("utf-8", "replace"))
    is_synced = is_done = False
    try:
        expected = [send() for send in sends]
        libpq.PQpipelineSync(pgconn)
        is_synced = True
        results = [_last(libpq, pgconn, encoding) for count in expected for _ in range(count)]
        _last(libpq, pgconn, encoding)
        is_done = True
    finally:
        # a signal's handler may have raised in the middle
        if not is_done:
            _drain(libpq, pgconn, is_synced=is_synced)
        libpq.PQexitPipelineMode(pgconn)
    answers: list[PlainAnswer] = []
    for count in expected:
        group, results = results[:count], results[count:]
        failed = next((answer for answer in group if answer.error is not None), None)
        answers.append(failed or group[-1])
        if failed is not None:
            break
    return answers


def _drain(libpq: pq.Libpq, pgconn: int, *, is_synced: bool) -> None:
    """Read what is left of an exchange that was interrupted."""
    if not is_synced:
        libpq.PQpipelineSync(pgconn)
    nothing = 0
    while nothing < 2:
        result = libpq.PQgetResult(pgconn)
        nothing = 0 if result else nothing + 1
        if result:
            status = libpq.PQresultStatus(result)
            libpq.PQclear(result)
            if status == pq.PIPELINE_SYNC:
                return


def _last(libpq: pq.Libpq, pgconn: int, encoding: str) -> PlainAnswer:
    """Return what the next message of ours was answered with."""
    answer = PlainAnswer()
    while result := libpq.PQgetResult(pgconn):
        try:
            status = libpq.PQresultStatus(result)
            if status == pq.PIPELINE_SYNC:
                break  # nothing follows it
            answer = _answer(libpq, result, status, encoding)
        finally:
            libpq.PQclear(result)
    return answer


def _answer(libpq: pq.Libpq, result: int, status: int, encoding: str) -> PlainAnswer:
    if status == pq.FATAL_ERROR:
        return PlainAnswer(error=libpq.error_fields(result, encoding))
    if status == pq.TUPLES_OK:
        return PlainAnswer(libpq.value(result))
    return PlainAnswer(
        tuple(
            (libpq.PQfname(result, i).decode(encoding), libpq.PQftype(result, i), libpq.PQfmod(result, i))
            for i in range(libpq.PQnfields(result))
        )
    )
