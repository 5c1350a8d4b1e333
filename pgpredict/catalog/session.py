"""The rewriter's catalog of one statement: it asks within the client's session and remembers the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, LiteralString

from rewriter import DescribeError, ModelInfo, Script, Setting, rewrite_script
from rewriter.errors import UnknownModel

from . import queries
from .asking import AskingCatalog, Field
from .errors import StatementRefused, Untranslatable, refused
from .questions import Answer, Description, Question, Rows

#: asks the server, and waits for the answers
Ask = Callable[[Sequence[Question]], Sequence[Answer]]

#: queries whose answer says nothing about what is right, only about what is fast; and one whose answer never
#: changes for the types that it is about
_UNRELATED = frozenset((queries.ESTIMATE, queries.TYPES))
#: stands in for the answer of another query, which is large
_STATE_OF: dict[str, LiteralString] = {queries.DEPLOYED: queries.DEPLOYED_STATE}

_INSTALLED = Rows(queries.INSTALLED)
_UNDEFINED_COLUMN = "42703"

#: a question, and what the server said
Finding = tuple[Question, object]


class SessionCatalog(AskingCatalog):
    """Asks the session whose statement is rewritten.

    :param ask: how
    :param may_fail: whether a question that fails leaves the session's transaction as it was
    :param widens: whether another encoding may have letters that the one that is asked in lacks
    :param declared: oids of the types of the statement's parameters
    :ivar findings: what was asked and answered: while the answers are the same, so is the result
    :ivar installed: whether the database has pgpredict; None if that was not asked
    """

    def __init__(
        self, ask: Ask, *, may_fail: bool, widens: bool = False, declared: Sequence[int] = ()
    ) -> None:
        super().__init__(declared)
        self._ask = ask
        self._widens = widens
        self._may_fail = may_fail
        self.findings: list[Finding] = []
        self.installed: bool | None = None

    def rewrite(self, sql: str, setting: Setting) -> Script:
        """Rewrite all statements of a text.

        :raises RewriteError: for a form that is wrong or cannot be answered
        :raises StatementRefused: if a question fails
        """
        try:
            return rewrite_script(sql, self, setting=setting)
        except UnknownModel as error:
            if self.installed is False:
                error.hint = "this database has no pgpredict: CREATE EXTENSION pgpredict CASCADE"
            raise

    def rows(self, sql: LiteralString, parameters: Sequence[Any] = ()) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""
        values = tuple(tuple(value) if isinstance(value, list) else value for value in parameters)
        questions = [Rows(sql, values)]
        state = _STATE_OF.get(sql)
        if state is not None:
            questions.append(Rows(state, values))
        answers = self._answers(questions)
        if sql not in _UNRELATED:
            self.findings.append((questions[-1], answers[-1].value))
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
        self.findings.append((question, answer.value))
        return answer.columns()

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

        :raises StatementRefused: if its pgpredict is older than ours
        """
        if not self._is_installed():
            return None
        try:
            found = super().model(name, version)
            if found is not None:
                # the model is there, so we are
                self.findings = [(asked, told) for asked, told in self.findings if asked != _INSTALLED]
            return found
        except StatementRefused as error:
            if error.sqlstate == _UNDEFINED_COLUMN:
                error.hint = (
                    "the database's pgpredict is older than this one: ALTER EXTENSION pgpredict UPDATE"
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
