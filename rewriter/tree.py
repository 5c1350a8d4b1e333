"""Questions about a block that need its syntax tree."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp
from sqlglot.errors import SqlglotError

from .dialect import PgPredict, Predict
from .errors import NotSupported
from .splice import Span


def merged_uses(sql: str, block: Span, names: set[str]) -> list[int]:
    """Return where merged columns stand without a qualifier and must be given one.

    An entry of ORDER BY or DISTINCT ON that is just the name of an output is left out: it means the output.

    :param block: the SELECT, for the tree
    :param names: the merged columns
    :return: offsets in ``sql``
    :raises NotSupported: if sqlglot cannot parse the block, or a use stands in a nested query
    """
    text = sql[block.start : block.end]
    try:
        select = PgPredict().parse(text)[0]
    except SqlglotError as error:
        raise NotSupported(
            f"this SELECT cannot be analysed, and {_list(names)} is merged by a join and used with and "
            "without its table's name",
            hint="write the table's name before each",
            position=_error_position(error, block, text),
        ) from error
    if not isinstance(select, exp.Select):
        raise NotSupported("this SELECT cannot be analysed", position=block.start + 1)
    outputs = {_folded(item.alias_or_name, item) for item in select.expressions}
    found = []
    for column in _columns(select):
        name = column.this
        if not isinstance(name, exp.Identifier) or column.args.get("table") or _name(name) not in names:
            continue
        start = block.start + name.meta["start"]
        if column.find_ancestor(exp.Select) is not select:
            raise NotSupported(
                f"column {_name(name)!r} in a nested query is merged by a join of the query around it",
                hint="write its table's name before it",
                position=start + 1,
            )
        if not (isinstance(column.parent, exp.Ordered) and _name(name) in outputs):
            found.append(start)
    return found


def _columns(select: exp.Select) -> Iterator[exp.Column]:
    skipped = [
        select.args.get("from_"),
        *(select.args.get("joins") or []),
        *(select.args.get("laterals") or []),
    ]
    for part in select.iter_expressions():
        if not any(part is other for other in skipped):
            yield from (
                column for column in part.find_all(exp.Column) if column.find_ancestor(Predict) is None
            )


def _name(identifier: exp.Identifier) -> str:
    return _folded(identifier.this, identifier)


def _folded(name: str, node: exp.Expression) -> str:
    quoted = node.args.get("quoted") or (
        isinstance(node, (exp.Alias, exp.Column))
        and isinstance(inner := node.args.get("alias") or node.args.get("this"), exp.Identifier)
        and inner.args.get("quoted")
    )
    return name if quoted else name.lower()


def _error_position(error: SqlglotError, block: Span, text: str) -> int:
    details = getattr(error, "errors", None) or [{}]
    line, column = details[0].get("line"), details[0].get("col")
    if not line:
        return block.start + 1
    before = sum(len(part) for part in text.splitlines(keepends=True)[: line - 1])
    return block.start + min(before + (column or 1), len(text))


def _list(names: set[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
