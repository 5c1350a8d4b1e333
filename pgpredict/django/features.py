"""Features of a form: fields by their column's name, expressions by keyword, all columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Value
from django.db.models.expressions import Col, Expression, F, OuterRef, Ref, ResolvedOuterRef
from django.db.models.fields import Field

STAR = "*"


class Star(Expression):
    """All columns of the query's own table, or of the one that a relation leads to.

    :param path: lookups to the relation; empty: the query's own table
    """

    contains_column_references = True

    def __init__(self, path: str = "") -> None:
        super().__init__(output_field=Field())
        self.path = path

    def __repr__(self) -> str:
        return f"Star({self.path!r})"

    def resolve_expression(
        self,
        query: Any = None,
        allow_joins: bool = True,
        reuse: Any = None,
        summarize: bool = False,
        for_save: bool = False,
    ) -> Expression:
        """Find the tables; a relation is joined, as a lookup along it would."""
        if query is None or query.model is None:
            raise FieldError("no table to take the features from")
        if not self.path:
            # a model that inherits has columns in its parents' tables
            columns = [
                query.resolve_ref(field.name, allow_joins, reuse, False)
                for field in query.get_meta().concrete_fields
            ]
            return TableStar(tuple(dict.fromkeys(column.alias for column in columns)))
        if not allow_joins:
            raise FieldError("joined field references are not permitted in this query")
        names = self.path.split("__")
        aliases = []
        parents: list[list[str]] = [[]]
        for parent in parents:
            joined = query.setup_joins(
                [*names, *parent], query.get_meta(), query.get_initial_alias(), can_reuse=reuse
            )
            if not joined.path:
                raise FieldError(f"{self.path!r} is no relation")
            if reuse is not None:
                reuse.update(joined.joins)
            aliases.append(joined.joins[-1])
            # what the relation leads to may have columns in its parents' tables
            links = joined.path[-1].to_opts.concrete_model._meta.parents.values()
            parents += [[*parent, link.name] for link in links if link is not None]
        return TableStar(tuple(dict.fromkeys(aliases)))

    def prefix_references(self, prefix: str) -> Star:
        """Return what this is from behind a relation."""
        return Star(f"{prefix}{self.path}".removesuffix("__"))


class TableStar(Expression):
    """All columns of tables of the query: ``"a".*, "b".*``.

    :param aliases: of the tables
    """

    contains_column_references = True
    possibly_multivalued = False

    def __init__(self, aliases: tuple[str, ...]) -> None:
        super().__init__(output_field=Field())
        self.aliases = aliases

    def __repr__(self) -> str:
        return f"TableStar({self.aliases!r})"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """Write them out."""
        # its name before Django 6.1
        quote = getattr(compiler, "quote_name", None) or compiler.quote_name_unless_alias
        return ", ".join(f"{quote(alias)}.*" for alias in self.aliases), []

    def relabeled_clone(self, change_map: Mapping[str, str]) -> TableStar:
        """Follow the tables to their new aliases."""
        return TableStar(tuple(change_map.get(alias, alias) for alias in self.aliases))

    def resolve_expression(self, *_: Any, **__: Any) -> TableStar:
        """Return this: it is resolved."""
        return self


def parse(positional: Sequence[Any], named: Mapping[str, Any]) -> tuple[list[Any], list[str | None]]:
    """Return the expressions of a form and the features that they are, None where the column tells.

    :raises TypeError: for a positional feature without a name of its own
    """
    sources: list[Any] = []
    names: list[str | None] = []
    for feature in positional or ([] if named else [STAR]):
        if isinstance(feature, str) and (feature == STAR or feature.endswith("__*")):
            sources.append(Star(feature.removesuffix(STAR).removesuffix("__")))
        elif isinstance(feature, str):
            sources.append(F(feature))
        elif isinstance(feature, F | Col | Star):
            sources.append(feature)
        else:
            raise TypeError(f"{feature!r} has no name: give it as feature=expression")
        names.append(None)
    for name, feature in named.items():
        if isinstance(feature, str):
            raise TypeError(
                f"feature {name!r} is given the text {feature!r}: is it F({feature!r}) or Value({feature!r})?"
            )
        sources.append(feature if hasattr(feature, "resolve_expression") else Value(feature))
        names.append(name)
    return sources, names


def name_of(source: Any, resolved: Any, query: Any) -> str | None:
    """Return the feature that a positional source is: its column's name, or the annotation's.

    :param source: before it was resolved
    :param query: which it was resolved in
    :returns: None where only the compiled query can tell, and for stars
    :raises FieldError: for a transform, which has no name
    """
    # an annotation may be nothing but a column of another name; what OuterRef names is in another query
    if isinstance(source, F) and not isinstance(source, OuterRef) and source.name in _annotations(query):
        return str(source.name)
    if isinstance(resolved, Col):
        return str(resolved.target.column)
    if isinstance(source, Star | TableStar) or isinstance(resolved, ResolvedOuterRef | OuterRef | F):
        return None
    if isinstance(resolved, Ref):
        return str(resolved.refs)
    name = getattr(source, "name", None)
    if name is None or "__" in name:
        raise FieldError(f"{name!r} is no column and has no name of its own: give it as feature=F({name!r})")
    return str(name)


def _annotations(query: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(query, "annotations", {})
    return found
