"""MindsDB and DMX: ``FROM t JOIN models.m``, a model table joined without saying how.

Becomes ``t CROSS JOIN LATERAL (SELECT PREDICT(m USING t.*) AS prediction, ...) AS m``. Features come by name
from all that stands before the join in its FROM; ``ON m.feature = expression`` names them. A condition that
gives every feature is plain SQL over the model table and stays that.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx_models.signature import Signature
from rewriter.catalog import Catalog
from rewriter.describe import describe
from rewriter.dml import find_dml
from rewriter.emit.convert import type_name
from rewriter.errors import AmbiguousFeature, InvalidSource, UnknownFeature
from rewriter.names import quote
from rewriter.scan import Token
from rewriter.scope import find_blocks, find_ctes, is_word
from rewriter.sources import FromClause, parse_from
from rewriter.splice import Mark, Piece, Span, Splicer, Text
from rewriter.visible import Scopes

from .common import alias_at, names_of, output, output_names, reads_all
from .inplace import put_in_place
from .joins import FORM, ModelJoin, find_joins


def joined(sql: str, tokens: Sequence[Token], catalog: Catalog) -> Text | None:
    """Change all joins with model tables that are ours.

    :raises RewriteError: for one whose features cannot be bound
    """
    joins = find_joins(tokens, catalog)
    return _Joins(sql, tokens, catalog, joins).spliced() if joins else None


class _Joins:
    def __init__(
        self, sql: str, tokens: Sequence[Token], catalog: Catalog, joins: Sequence[ModelJoin]
    ) -> None:
        self.sql, self.tokens, self.catalog, self.joins = sql, tokens, catalog, joins
        self.names = names_of(tokens)
        self.splicer = Splicer(sql)
        # the statement with NULLs in the place of predictions, which PostgreSQL can tell the columns of
        self.probe = Splicer(sql)
        for join in joins:
            columns = ", ".join(
                f"NULL::{self._type(name, join)} AS {quote(name)}" for name in self._outputs(join)
            )
            self.probe.replace(
                self._span(join), [f"CROSS JOIN LATERAL (SELECT {columns}) AS ", *_alias(join)]
            )
        self.scopes = Scopes(
            tokens, find_blocks(tokens), find_dml(tokens), find_ctes(tokens), self.probe, catalog
        )

    def spliced(self) -> Text | None:
        ours = [(join, inputs) for join in self.joins if (inputs := self._inputs(join)) is not None]
        for join, inputs in ours:
            if not self._put_in_place(join, inputs):
                self.splicer.replace(self._span(join), self._lateral(join, inputs))
                self._shorten(join)
        return self.splicer.render([Span(0, len(self.sql))]) if ours else None

    def _span(self, join: ModelJoin) -> Span:
        return Span(self.tokens[join.start].start, self.tokens[join.end - 1].end)

    # what is read

    def _outputs(self, join: ModelJoin) -> list[str]:
        """Return the outputs that the statement may read; the prediction always, so that it is checked."""
        known = output_names(join.info.signature)
        if reads_all(self.tokens, join.alias):
            return known
        return [name for name in known if name in self.names] or known[:1]

    def _qualified(self, join: ModelJoin, name: str) -> bool:
        """Tell whether a column of the model table is named with its qualifier, outside of ON."""
        for index in range(2, len(self.tokens)):
            token = self.tokens[index]
            if join.model <= index < join.end or token.text != name or self.tokens[index - 1].text != ".":
                continue
            if self.tokens[index - 2].text == join.alias.text:
                return True
        return False

    def _type(self, name: str, join: ModelJoin) -> str:
        return type_name(join.info.signature.target.type) if name == "prediction" else "double precision"

    # where features come from

    def _inputs(self, join: ModelJoin) -> list[tuple[str | None, list[Piece]]] | None:
        """Return a name and an expression for each feature; the name is None for a star.

        None where the join has an ON and PostgreSQL shall answer it, because the statement gives other
        features elsewhere, or nobody does.
        """
        if join.has_on and any(self._qualified(join, name) for name in [*join.unmapped, "features"]):
            return None
        start = self._start(join)
        words = {index for other in self.joins for index in range(other.start, other.word)}
        left = [self.tokens[index] for index in range(start, join.start) if index not in words]
        clause = parse_from(left, 0, len(left)) if left else FromClause([])
        mapped: list[tuple[str | None, list[Piece]]] = [(name, [span]) for name, span in join.mapped.items()]
        if not join.unmapped:
            return mapped
        if len(clause.sources) == 1 and not join.has_on:
            return [(None, [f"{quote(clause.sources[0].alias)}.*"]), *mapped]
        try:
            body: list[Piece] = [Span(self.tokens[start].start, self.tokens[join.start - 1].end)]
            describe(clause, self.scopes.context_for(body, join.start))
        except InvalidSource:
            if join.has_on:
                return None
            raise
        named = self._by_name(join, clause, _model_tables(left))
        return None if named is None else [*mapped, *named]

    def _start(self, join: ModelJoin) -> int:
        """Return the index of the first token of what stands before the join in its FROM."""
        depth, index = self.tokens[join.start].depth, join.start
        while index and self.tokens[index - 1].depth >= depth:
            before = index - 1
            if self.tokens[before].depth == depth:
                is_from = is_word(self.tokens, before, "from") and not is_word(
                    self.tokens, before - 1, "distinct", "rows"
                )
                if is_from or (is_word(self.tokens, before, "using") and self.tokens[index].text != "("):
                    break
            index = before
        return index

    def _by_name(
        self, join: ModelJoin, clause: FromClause, echoes: frozenset[str]
    ) -> list[tuple[str | None, list[Piece]]] | None:
        """Return an expression for each feature that ON does not give; None if they may stand elsewhere."""
        found: list[tuple[str | None, list[Piece]]] = []
        missing = []
        for name in join.unmapped:
            owners = [source for source in clause.sources for column in source.columns if column.name == name]
            owners = owners[: sum(column.name == name for column in clause.star)]
            if not name.startswith(("prediction", "probability")):
                # the features of another model are what was given to it
                owners = [source for source in owners if source.alias not in echoes]
            if len(owners) > 1:
                raise self._ambiguous(join, name, [source.alias for source in owners])
            if not owners:
                missing.append(name)
                continue
            qualifier = "" if name in clause.merged else f"{quote(owners[0].alias)}."
            found.append((name, [f"{qualifier}{quote(name)}"]))
        if missing:
            if join.has_on and not self.names.isdisjoint([*missing, "natural"]):
                return None
            raise self._missing(join, missing, clause)
        return found

    def _ambiguous(self, join: ModelJoin, name: str, aliases: Sequence[str]) -> AmbiguousFeature:
        return AmbiguousFeature(
            f"feature {name!r} is ambiguous: it is a column of {' and of '.join(map(repr, aliases))}",
            hint=f"name the one that is meant: ON {quote(join.alias.text)}.{quote(name)} = "
            f"{quote(aliases[0])}.{quote(name)}",
            position=self.tokens[join.model].start + 1,
        )

    def _missing(self, join: ModelJoin, missing: Sequence[str], clause: FromClause) -> UnknownFeature:
        plural = "s" if len(missing) > 1 else ""
        columns = ", ".join(dict.fromkeys(column.name for column in clause.star)) or "none"
        return UnknownFeature(
            f"model {join.info.name!r} misses feature{plural} {', '.join(map(repr, missing))} in what stands "
            "before the join",
            hint=f"columns there: {columns}; or give it: {FORM}",
            position=self.tokens[join.model].start + 1,
        )

    # what is written

    def _forms(
        self, join: ModelJoin, inputs: Sequence[tuple[str | None, list[Piece]]]
    ) -> dict[str, list[Piece]]:
        """Return the scalar form for each output that the statement may read."""
        model = [Span(self.tokens[join.model].start, self.tokens[join.model + 2].end)]
        at = Mark(self.tokens[join.model].start)
        using: list[Piece] = [at, "USING "]
        for number, (name, pieces) in enumerate(inputs):
            using += [at, ", "] if number else []
            using += pieces if name is None or isinstance(pieces[0], str) else [*pieces, f" AS {quote(name)}"]
        return {name: output(name, join.info.signature, model, using) for name in self._outputs(join)}

    def _put_in_place(self, join: ModelJoin, inputs: Sequence[tuple[str | None, list[Piece]]]) -> bool:
        """Write the forms where their outputs are read, if that is all that is read of the join."""
        # the features of a second join could be outputs of the first
        reads_features = any(self._qualified(join, name) for name in [*join.mapped, *join.unmapped])
        if len(self.joins) > 1 or reads_features or (not join.is_named and self._by_schema(join)):
            return False
        forms = self._forms(join, inputs)
        where = range(join.start, join.end)
        at = self.tokens[join.model].start
        if not put_in_place(self.tokens, where, join.alias, forms, self.splicer, at=at, joins_before=True):
            return False
        self.splicer.replace(self._span(join), [])
        return True

    def _by_schema(self, join: ModelJoin) -> list[int]:
        """Return where ``models.m.`` stands before a column."""
        words = ["models", ".", join.alias.text, "."]
        return [
            index
            for index in range(len(self.tokens) - 4)
            if [token.text for token in self.tokens[index : index + 4]] == words
        ]

    def _lateral(self, join: ModelJoin, inputs: Sequence[tuple[str | None, list[Piece]]]) -> list[Piece]:
        signature = join.info.signature
        mark = Mark(self.tokens[join.model].start)
        written: list[Piece] = [mark, "CROSS JOIN LATERAL (SELECT "]
        for number, (name, form) in enumerate(self._forms(join, inputs).items()):
            written += [", "] if number else []
            written += [mark, *form, f" AS {quote(name)}"]
        written += self._features(join, signature, inputs)
        return [*written, ") AS ", *_alias(join)]

    def _features(
        self, join: ModelJoin, signature: Signature, inputs: Sequence[tuple[str | None, list[Piece]]]
    ) -> list[Piece]:
        """Return the features that the statement reads from the model table."""
        given = {name: pieces for name, pieces in inputs if name is not None}
        star = next((str(pieces[0]).removesuffix("*") for name, pieces in inputs if name is None), "")
        written: list[Piece] = []
        for feature in signature.features:
            if self._qualified(join, feature.name):
                expression = given.get(feature.name, [f"{star}{quote(feature.name)}"])
                written += [", (", *expression, f")::{type_name(feature.type)} AS {quote(feature.name)}"]
        return written

    def _shorten(self, join: ModelJoin) -> None:
        """Take the schema from ``models.m.prediction``: what stands in FROM is no table any more."""
        if not join.is_named:
            for index in self._by_schema(join):
                self.splicer.replace(Span(self.tokens[index].start, self.tokens[index + 2].start), [])


def _model_tables(tokens: Sequence[Token]) -> frozenset[str]:
    """Return the aliases of the model tables among the sources."""
    found = set()
    for index in range(1, len(tokens) - 2):
        words = [token.text for token in tokens[index : index + 2]]
        if words == ["models", "."] and tokens[index - 1].text in ("join", ",", "from"):
            found.add((alias_at(tokens, index + 3)[0] or tokens[index + 2]).text)
    return frozenset(found)


def _alias(join: ModelJoin) -> list[Piece]:
    return [Span(join.alias.start, join.alias.end)]
