"""Columns of the sources on their way through the batches."""

from __future__ import annotations

import dataclasses

from rewriter.catalog import Column
from rewriter.errors import NotSupported
from rewriter.names import quote
from rewriter.plan import Plan
from rewriter.references import References


@dataclasses.dataclass(frozen=True)
class Carried:
    """A value that goes into the batches and comes out beside its prediction.

    :ivar name: our name for it
    :ivar expression: what it is in the scope of FROM
    :ivar record_type: for arrays, the type with which they come back out of a record; None for others
    """

    name: str
    expression: str
    record_type: str | None = None


@dataclasses.dataclass
class Carry:
    """All that is carried.

    :ivar values: in the order of the inner select
    :ivar sources: per alias the (column, our name) pairs that it comes back with
    :ivar merged: (column, our name) pairs of merged columns
    :ivar rows: our name of a whole row, by alias
    :ivar modified: types with a modifier, by our name: ``numeric(10,2)`` comes out of an array as ``numeric``
    """

    values: list[Carried] = dataclasses.field(default_factory=list)
    sources: dict[str, list[tuple[str, str]]] = dataclasses.field(default_factory=dict)
    merged: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    rows: dict[str, str] = dataclasses.field(default_factory=dict)
    modified: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def plain(self) -> list[Carried]:
        """Values that array_agg and unnest give back as they were."""
        return [value for value in self.values if value.record_type is None]

    @property
    def boxed(self) -> list[Carried]:
        """Arrays, which array_agg would join into one: they travel as fields of a record."""
        return [value for value in self.values if value.record_type is not None]


def carry(plan: Plan, found: References, prefix: str) -> Carry:
    """Return what must be carried, with names.

    :raises NotSupported: for values of a pseudo-type
    """
    result = Carry()
    uses = _uses(plan, found)
    # FROM would spread a row over several columns: beside arrays, rows travel in the record too
    boxes = any(column is not None and column.is_array for _, _, _, column in uses)
    for alias, name, expression, column in uses:
        box = column is not None and (column.is_array or (boxes and column.is_composite))
        if column is not None and column.is_pseudo and (boxes or column.type != "record"):
            raise NotSupported(
                f"{expression} has the pseudo-type {column.type} and cannot stand beside PREDICT",
                hint="cast it to text in a subquery",
                position=plan.tokens[plan.block.first].start + 1,
            )
        our = f"{prefix}k{len(result.values) + 1}"
        result.values.append(Carried(our, expression, column.type if box and column else None))
        if column is not None and not box and "(" in column.type:
            result.modified[our] = column.type
        if alias is None:
            result.merged.append((name, our))
        elif column is not None and column is _row(plan, alias):
            result.rows[alias] = our
        else:
            result.sources.setdefault(alias, []).append((name, our))
    return result


def _row(plan: Plan, alias: str) -> Column | None:
    source = plan.clause.source(alias)
    return None if source is None else source.row


def _uses(plan: Plan, found: References) -> list[tuple[str | None, str, str, Column | None]]:
    """Return (alias, column, expression in the scope of FROM, description) of all that is needed.

    A merged column has no alias, a system column no description.
    """
    uses: list[tuple[str | None, str, str, Column | None]] = []
    outputs = plan.columns
    for source in plan.clause.sources:
        if plan.apart is not None and source.at not in plan.apart:
            # it stays where it is
            continue
        alias = quote(source.alias)
        if plan.marker is not None and plan.marker[0] == source.alias:
            uses.append((source.alias, plan.marker[1], f"{alias}.{quote(plan.marker[1])}", None))
        names = [
            column.name
            for column in source.columns
            if (source.alias, column.name) in found.columns and (source.alias, column.name) not in outputs
        ]
        system = sorted(name for of, name in found.columns if of == source.alias and not source.column(name))
        uses += [
            (source.alias, name, f"{alias}.{quote(name)}", source.column(name)) for name in names + system
        ]
        if source.alias in found.rows:
            # COALESCE keeps the row one value, and NULL where a join found no row
            uses.append((source.alias, source.alias, f"COALESCE({alias}.*)", source.row))
    for name in sorted(found.merged):
        column = next(column for column in plan.clause.star if column.name == name)
        uses.append((None, name, quote(name), column))
    return uses
