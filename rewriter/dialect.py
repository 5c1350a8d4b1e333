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


class Predict(exp.Expression):
    """A PREDICT or PROBABILITY: ``this`` is the model, ``expressions`` the USING list."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "kind": True, "label": False, "expressions": False}


def _parser_of(kind: str) -> Callable[[Any], exp.Expression]:
    def parse(parser: Any) -> exp.Expression:
        start = parser._index
        model = parser._parse_table_parts()
        if isinstance(model, exp.Table) and (
            parser._match(TokenType.R_PAREN, advance=False)
            or parser._match(TokenType.FOR, advance=False)
            or parser._match(TokenType.USING, advance=False)
        ):
            label = parser._parse_primary() if parser._match(TokenType.FOR) else None
            inputs = parser._parse_csv(parser._parse_expression) if parser._match(TokenType.USING) else None
            return Predict(this=model, kind=kind, label=label, expressions=inputs)
        parser._retreat(start)
        # a function of the user's
        return exp.Anonymous(this=kind, expressions=parser._parse_csv(parser._parse_lambda))

    return parse


class PredictParser(PostgresParser):
    """Knows PREDICT and PROBABILITY."""

    FUNCTION_PARSERS: ClassVar[dict[str, Callable[[Any], exp.Expression]]] = {
        **PostgresParser.FUNCTION_PARSERS,
        "PREDICT": _parser_of("predict"),
        "PROBABILITY": _parser_of("probability"),
    }


class PredictTokenizer(Postgres.Tokenizer):
    """Leaves hints to be comments, as PostgreSQL does."""

    KEYWORDS: ClassVar[dict[str, TokenType]] = {
        word: kind for word, kind in Postgres.Tokenizer.KEYWORDS.items() if word != "/*+"
    }


class PgPredict(Postgres):
    """PostgreSQL with PREDICT."""

    Tokenizer = PredictTokenizer
    Parser = PredictParser
