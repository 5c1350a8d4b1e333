"""PostgreSQL's dialect of sqlglot, in which each of our forms is one node.

The tree is used for what words alone cannot tell (:mod:`rewriter.tree`); nothing is ever generated from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.parsers.postgres import PostgresParser
from sqlglot.tokenizer_core import TokenType

from .forms.parse import FORMS


class Predict(exp.Expression):
    """A form: ``this`` is the model, ``expressions`` the list of its features."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "kind": True,
        "version": False,
        "label": False,
        "top": False,
        "cutoff": False,
        "expressions": False,
        "missing": False,
    }


def _parser_of(word: str) -> Callable[[Any], exp.Expression]:
    form = FORMS[word]

    def parse(parser: Any) -> exp.Expression:
        start = parser._index
        model = parser._parse_table_parts()
        parts: dict[str, Any] = {}
        if isinstance(model, exp.Table):
            _extras(parser, parts)
            if form.arguments and parser._match(TokenType.COMMA):
                names = ("label",) if form.kind == "probability" else ("top", "cutoff")
                parts.update(zip(names, parser._parse_csv(parser._parse_unary), strict=False))
                _extras(parser, parts)
            _rest(parser, parts, TokenType.USING)
            if parser._match(TokenType.R_PAREN, advance=False):
                return Predict(this=model, kind=form.kind, **parts)
        parser._retreat(start)
        # a function of the user's
        return exp.Anonymous(this=word, expressions=parser._parse_csv(parser._parse_lambda))

    return parse


def _extras(parser: Any, parts: dict[str, Any]) -> None:
    while True:
        if parser._match_text_seq("VERSION"):
            parts["version"] = parser._parse_primary()
        elif parser._match(TokenType.FOR):
            parts["label"] = parser._parse_unary()
        else:
            return


def _rest(parser: Any, parts: dict[str, Any], *words: TokenType | str) -> None:
    if parser._match(words[0]) if isinstance(words[0], TokenType) else parser._match_text_seq(*words):
        parts["expressions"] = parser._parse_csv(parser._parse_expression)
    if parser._match_text_seq("ON", "MISSING"):
        parser._advance()
        parts["missing"] = exp.var(parser._prev.text.lower())


class PredictParser(PostgresParser):
    """Knows the forms."""

    FUNCTION_PARSERS: ClassVar[dict[str, Callable[[Any], exp.Expression]]] = {
        **PostgresParser.FUNCTION_PARSERS,
        **{word.upper(): _parser_of(word) for word in FORMS},
    }

    def _parse_column(self) -> Any:
        """Read PREDICT BY model (FEATURES ...) too, which sqlglot would take for a column and its alias."""
        parser: Any = self
        start = parser._index
        if parser._match_text_seq("PREDICT", "BY"):
            # with schema=True the parenthesis does not make the name a function's
            model, parts = parser._parse_table_parts(schema=True), {}
            if parser._match_text_seq("VERSION"):
                parts["version"] = parser._parse_primary()
            if parser._match(TokenType.L_PAREN):
                _rest(parser, parts, "FEATURES")
                parser._match_r_paren()
                return parser._parse_column_ops(Predict(this=model, kind="predict", **parts))
            parser._retreat(start)
        return super()._parse_column()


class PredictTokenizer(Postgres.Tokenizer):
    """Leaves hints to be comments, as PostgreSQL does."""

    KEYWORDS: ClassVar[dict[str, TokenType]] = {
        word: kind for word, kind in Postgres.Tokenizer.KEYWORDS.items() if word != "/*+"
    }


class PgPredict(Postgres):
    """PostgreSQL with PREDICT."""

    Tokenizer = PredictTokenizer
    Parser = PredictParser
