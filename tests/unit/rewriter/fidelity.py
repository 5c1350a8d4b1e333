"""Compares parse trees of a statement before and after: all that was not ours must be the same.

In the original each form is replaced by the call of a marker function, so that PostgreSQL's parser takes it.
Where the original has the marker, the rewritten statement may have anything that we put there; all else must
be the same node. Batches move FROM: there the user's FROM must stand unchanged inside of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pglast

from rewriter.forms import find_calls
from rewriter.scan import scan

MARKER = "pgp_marker"
_PLACES = re.compile(r"location|_len$|^rexpr_list_|^list_(start|end)$")
#: what a form becomes: a subquery, a column of ours, an expression
_OURS = ("SubLink", "ColumnRef", "TypeCast", "CaseExpr", "A_Expr", "CoalesceExpr", "FuncCall", "BoolExpr")


def marked(sql: str) -> str:
    """Return a statement with the marker in the place of each form."""
    calls = find_calls(scan(sql))
    outermost = [call for call in calls if not any(other.first < call.first <= other.last for other in calls)]
    for call in sorted(outermost, key=lambda call: -call.first):
        sql = sql[: call.span.start] + f"{MARKER}()" + sql[call.span.end :]
    return sql


def tree(sql: str) -> Any:
    """Return a statement's parse tree without positions."""
    return [_plain(statement(skip_none=True)) for statement in pglast.parse_sql(sql)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if not _PLACES.search(key)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield where two trees differ in what was not ours."""
    if is_marker(before):
        if not (isinstance(after, dict) and after.get("@") in _OURS):
            yield f"{path}: a form became {after}"
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            here = f"{path}.{key}"
            if key == "fromClause" and before.get(key) != after.get(key):
                yield from _moved(before.get(key), after.get(key), here)
            elif key == "name" and before.get("@") == "ResTarget" and key not in before:
                # an output keeps the name that PostgreSQL would have found
                if not holds_marker(before):
                    yield f"{here}: named {after[key]}"
            elif (key in before) != (key in after):
                yield f"{here}: {before.get(key)} became {after.get(key)}"
            else:
                yield from differences(before[key], after[key], here)
        return
    if isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{path}: {len(before)} became {len(after)}"
        for number, (left, right) in enumerate(zip(before, after, strict=False)):
            yield from differences(left, right, f"{path}[{number}]")
        return
    if before != after:
        yield f"{path}: {before!r} became {after!r}"


def _moved(before: Any, after: Any, path: str) -> Iterator[str]:
    """FROM may hold forms itself, or stand inside of ours."""
    if not list(differences({"from": before}, {"from": after})):
        return
    for candidate in _froms(after):
        if not list(differences({"from": before}, {"from": candidate})):
            return
    if before is not None:
        yield f"{path}: FROM is not what it was"


def _froms(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        if "fromClause" in node:
            yield node["fromClause"]
        for item in node.values():
            yield from _froms(item)
    elif isinstance(node, list):
        for item in node:
            yield from _froms(item)


def is_marker(node: Any) -> bool:
    """Tell whether a node is the call of the marker."""
    return (
        isinstance(node, dict)
        and node.get("@") == "FuncCall"
        and [part.get("sval") for part in node["funcname"]] == [MARKER]
    )


def holds_marker(node: Any) -> bool:
    """Tell whether the marker is called anywhere in a tree."""
    if is_marker(node):
        return True
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return any(holds_marker(child) for child in children)
