"""The rewriter's catalog of one statement: it asks within the client's session and remembers the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, LiteralString

from pgpredict.catalog import queries
from pgpredict.catalog.asking import AskingCatalog, Field
from rewriter import DescribeError, ModelInfo

from .errors import StatementRefused, Untranslatable
from .questions import Answer, Description, Question, Rows

#: asks the server, and waits for the answers
Ask = Callable[[Sequence[Question]], Sequence[Answer]]

#: queries whose answer says nothing about what is right, only about what is fast
_ADVICE = frozenset((queries.ESTIMATE,))
#: stands in for the answer of another query, which is large
_STATE_OF: dict[str, LiteralString] = {queries.DEPLOYED: queries.DEPLOYED_STATE}

_UNDEFINED_COLUMN = "42703"

#: a question and the server's answer to it, byte by byte
Finding = tuple[Question, bytes | None]


class SessionCatalog(AskingCatalog):
    """Asks the session whose statement is rewritten.

    :param ask: how
    :param encoding: Python's name of the encoding that is asked in
    :param widens: whether another encoding may have letters that this one lacks
    :param may_fail: whether a question that fails leaves the session's transaction as it was
    :param declared: oids of the types that a Parse declares for its parameters
    :ivar encoding: the parameter
    :ivar findings: what was asked and answered: while the answers are the same, so is the result
    :ivar installed: whether the database has pgpredict; None if that was not asked
    """

    def __init__(
        self, ask: Ask, encoding: str, *, may_fail: bool, widens: bool = False, declared: Sequence[int] = ()
    ) -> None:
        super().__init__(declared)
        self._ask = ask
        self.encoding = encoding
        self._may_fail = may_fail
        self._widens = widens
        self.findings: list[Finding] = []
        self.installed: bool | None = None

    def rows(self, sql: LiteralString, parameters: Sequence[Any] = ()) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""
        asked = Rows(sql, tuple(parameters))
        questions = [asked]
        state = _STATE_OF.get(sql)
        if state is not None:
            questions.append(Rows(state, tuple(parameters)))
        answers = self._answers(questions)
        if sql not in _ADVICE:
            self.findings.append((questions[-1], answers[-1].row))
        return answers[0].rows()

    def fields(self, sql: str, types: Sequence[int]) -> Sequence[Field]:
        """Return the columns of a query, which is prepared and never run.

        :raises DescribeError: with PostgreSQL's complaint
        """
        question = Description(sql, tuple(types))
        answer = self._ask([question])[0]
        if answer.error is not None:
            error = answer.error
            if self._widens and error.get("C") == Untranslatable.sqlstate:
                raise refused(error)
            position = error.get("P")
            raise DescribeError(
                error.get("M", ""),
                error.get("C", "XX000"),
                error.get("H"),
                int(position) if position else None,
            )
        self.findings.append((question, answer.row))
        return answer.columns(self.encoding)

    def description(self, sql: str) -> bytes | None:
        """Return the body of a query's RowDescription; None where there is none, or one must not ask."""
        if not self._may_fail:
            return None
        question = Description(sql, tuple(self.parameter_types(sql)))
        answer = self._ask([question])[0]
        self.findings.append((question, answer.row))
        return answer.row

    def estimated(self, sql: str, parameters: Sequence[int]) -> float | None:
        """Return the answer of ``ml.estimate``; None also where it fails, or must not."""
        if not self._may_fail:
            return None
        try:
            estimated: float | None = self.rows(queries.ESTIMATE, [sql, parameters])[0][0]
        except StatementRefused:
            return None
        return estimated

    def model(self, name: str, version: int | None = None) -> ModelInfo | None:
        """Return a model that the caller may use; none in a database without pgpredict.

        :raises StatementRefused: if its pgpredict is older than the proxy
        """
        if not self._is_installed():
            return None
        try:
            return super().model(name, version)
        except StatementRefused as error:
            if error.sqlstate == _UNDEFINED_COLUMN:
                error.hint = (
                    "the database's pgpredict is older than the proxy: ALTER EXTENSION pgpredict UPDATE"
                )
            raise

    def model_names(self) -> Sequence[str]:
        """Return the names of all models that the caller may use."""
        return super().model_names() if self._is_installed() else []

    def _is_installed(self) -> bool:
        if self.installed is None:
            self.installed = bool(self.rows(queries.INSTALLED)[0][0])
        return self.installed

    def _answers(self, questions: Sequence[Question]) -> Sequence[Answer]:
        answers = self._ask(questions)
        for answer in answers:
            if answer.error is not None:
                raise refused(answer.error)
        return answers


def refused(error: dict[str, str]) -> StatementRefused:
    """Return an error of the server's to a question of ours as one that the client is told.

    :param error: its fields
    """
    told = StatementRefused(
        error.get("M", "the server refuses a question about the statement"), error.get("H")
    )
    told.sqlstate = error.get("C", "XX000")
    return told
