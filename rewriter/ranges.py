"""What conditions on columns say of features, and the reverse.

A form compares doubles: a feature's value is its column's, cast to the feature's type and to double. Both
directions keep to the safe side, since these casts may round: what is drawn from a condition holds for every
row that meets it, and a condition is made such that every row within the bounds meets it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from onnx_models.inline import Bounds

from .bind import base_type
from .comparisons import Comparison, comparison_of
from .names import literal, quote
from .plan import Input, Plan
from .scan import scan as words
from .splice import Span

_WHOLE = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
_TEXTS = ("text", "character varying")
#: doubles hold every whole number up to here
_EXACT = 2**53
#: digits that tell any two doubles apart
_DIGITS = 17
_FLOOR, _CEILING = Context(_DIGITS, ROUND_FLOOR), Context(_DIGITS, ROUND_CEILING)


@dataclasses.dataclass(frozen=True)
class Source:
    """A plain column that a feature is.

    :ivar alias: of the source; empty for a merged column
    :ivar type: its type without modifiers
    """

    alias: str
    name: str
    type: str

    @property
    def sql(self) -> str:
        """The column as SQL."""
        return f"{quote(self.alias)}.{quote(self.name)}" if self.alias else quote(self.name)


def source_of(input_: Input, plan: Plan) -> Source | None:
    """Return the column that a feature is, if its cast to a double is one that we know."""
    path = input_.column
    if path is None and input_.type is not None and len(input_.pieces) == 1:
        piece = input_.pieces[0]
        if isinstance(piece, Span):
            path = _resolve([t.text for t in words(plan.sql[piece.start : piece.end]) if t.is_name], plan)
    if path is None or input_.type is None:
        return None
    source = Source(path[0], path[1], base_type(input_.type))
    return source if _is_known(source.type, input_.feature.type) else None


def _is_known(type_: str, feature: str) -> bool:
    """Tell whether a column becomes a feature by a cast that never falls, and rounds to doubles only."""
    if feature in _TEXTS:
        return type_ in _TEXTS
    if type_ in _WHOLE:
        return feature in (*_WHOLE, "numeric", "double precision")
    if type_ == "numeric":
        return feature in ("numeric", "double precision")
    if type_ == "real":
        return feature in ("real", "double precision")
    return type_ == feature == "double precision"


def _resolve(path: Sequence[str], plan: Plan) -> tuple[str, str] | None:
    """Return (alias, column) of a column's name as it is written; the alias is empty for a merged one."""
    clause = plan.clause
    if len(path) == 2:
        source = clause.source(path[0])
        return (path[0], path[1]) if source is not None and source.column(path[1]) is not None else None
    if len(path) != 1:
        return None
    if path[0] in clause.merged:
        return "", path[0]
    owners = [source.alias for source in clause.sources if source.column(path[0]) is not None]
    return (owners[0], path[0]) if len(owners) == 1 else None


def column_at(plan: Plan, index: int) -> tuple[tuple[str, str], int] | None:
    """Return the column whose name begins at a token, and the index behind it."""
    tokens, path = plan.tokens, list[str]()
    while index < len(tokens) and tokens[index].is_name:
        path.append(tokens[index].text)
        index += 1
        if not (index + 1 < len(tokens) and tokens[index].text == "." and tokens[index].kind == "punct"):
            break
        index += 1
    found = _resolve(path, plan) if path else None
    return None if found is None or (index < len(tokens) and tokens[index].text == "(") else (found, index)


def conditions(plan: Plan, ranges: Sequence[tuple[int, int]]) -> dict[tuple[str, str], list[Comparison]]:
    """Return what conjuncts, given as token ranges, say of columns."""
    found: dict[tuple[str, str], list[Comparison]] = {}

    def operand(index: int) -> int | None:
        at = column_at(plan, index)
        return None if at is None else at[1]

    for start, end in ranges:
        comparison = comparison_of(plan.tokens, start, end, operand)
        column = None if comparison is None else column_at(plan, comparison[0])
        if comparison is not None and column is not None:
            found.setdefault(column[0], []).append(comparison[1])
    return found


def bounds_of(source: Source, said: Sequence[Comparison], *, texts_are_bytes: bool) -> Bounds:
    """Return bounds of a feature that hold where its column meets all conditions.

    :param texts_are_bytes: whether texts that are equal are so byte by byte
    """
    bounds = Bounds()
    for comparison in said:
        narrower = _bounds(source.type, comparison, texts_are_bytes)
        bounds = bounds if narrower is None else bounds.within(narrower)
    return bounds


def _bounds(type_: str, said: Comparison, texts_are_bytes: bool) -> Bounds | None:
    # NaN is missing to a form, but greater than all numbers, and there, to SQL
    has_nan = type_ not in _WHOLE and type_ not in _TEXTS
    if said.operator == "null":
        return Bounds(texts=frozenset()) if type_ in _TEXTS else Bounds(math.inf, -math.inf)
    if said.operator == "not null":
        return Bounds(missing=has_nan)
    if type_ in _TEXTS:
        return _bounds_of_text(said) if texts_are_bytes else None
    numbers = [number for number in said.constants if isinstance(number, Decimal)]
    if len(numbers) != len(said.constants):
        return None
    if said.operator == "<>":
        return Bounds(missing=has_nan)
    if said.operator in ("=", "in"):
        return Bounds(_double(min(numbers)), _double(max(numbers)), missing=False)
    if said.operator == "between":
        return Bounds(_lowest(type_, numbers[0], ">="), _highest(type_, numbers[1], "<="), missing=False)
    if said.operator in (">", ">="):
        return Bounds(low=_lowest(type_, numbers[0], said.operator), missing=has_nan)
    return Bounds(high=_highest(type_, numbers[0], said.operator), missing=False)


def _bounds_of_text(said: Comparison) -> Bounds | None:
    texts = frozenset(text for text in said.constants if isinstance(text, str))
    if len(texts) != len(set(said.constants)):
        return None
    if said.operator in ("=", "in"):
        return Bounds(missing=False, texts=texts)
    if said.operator == "<>":
        return Bounds(missing=False, excluded=texts)
    return None


def _double(number: Decimal) -> float:
    return float(number)


def _lowest(type_: str, number: Decimal, operator: str) -> float:
    """Return the least double that a value can become which is greater than a constant, or equal."""
    if type_ in _WHOLE:
        whole = math.floor(number) + 1 if operator == ">" else math.ceil(number)
        return float(whole)
    double = _double(number)
    # of numeric, a value just above the constant may become the same double
    is_double = type_ in ("double precision", "real")
    return math.nextafter(double, math.inf) if operator == ">" and is_double else double


def _highest(type_: str, number: Decimal, operator: str) -> float:
    if type_ in _WHOLE:
        whole = math.ceil(number) - 1 if operator == "<" else math.floor(number)
        return float(whole)
    double = _double(number)
    is_double = type_ in ("double precision", "real")
    return math.nextafter(double, -math.inf) if operator == "<" and is_double else double


def condition(source: Source, bounds: Bounds) -> str | None:
    """Return SQL that is true wherever a feature is within bounds, and that an index on its column can serve.

    :returns: None where nothing can be said
    """
    value = _of_texts(source, bounds) if source.type in _TEXTS else _of_numbers(source, bounds)
    if value is None:
        return None
    alternatives = [value] if value else []
    if bounds.missing:
        alternatives.append(f"{source.sql} IS NULL")
        if source.type not in _WHOLE and source.type not in _TEXTS:
            alternatives.append(_compare(source, "=", "'NaN'", source.type))
    if not alternatives:
        return "false"
    return alternatives[0] if len(alternatives) == 1 else f"({' OR '.join(alternatives)})"


def _of_texts(source: Source, bounds: Bounds) -> str | None:
    if bounds.texts is None:
        return None
    # the column's collation may call further texts equal: a row too many
    texts = sorted(bounds.texts - bounds.excluded)
    if not texts:
        return ""
    if len(texts) == 1:
        return f"{source.sql} OPERATOR(pg_catalog.=) {literal(texts[0])}"
    return f"{source.sql} OPERATOR(pg_catalog.=) ANY (ARRAY[{', '.join(map(literal, texts))}])"


def _of_numbers(source: Source, bounds: Bounds) -> str | None:
    if bounds.low > bounds.high:
        return ""
    parts: list[str] = []
    if bounds.low != -math.inf:
        low = _limit(source.type, bounds.low, upwards=True)
        parts += [] if low is None else [_compare(source, ">=", low, source.type)]
    if bounds.high != math.inf:
        high = _limit(source.type, bounds.high, upwards=False)
        parts += [] if high is None else [_compare(source, "<=", high, source.type)]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"


def _limit(type_: str, number: float, *, upwards: bool) -> str | None:
    """Return a constant for a column's comparison with a double that its value becomes."""
    if type_ in _WHOLE:
        if abs(number) > _EXACT:
            return None
        whole = math.ceil(number) if upwards else math.floor(number)
        return str(whole)
    if math.isinf(number):
        return None
    if type_ == "numeric":
        # values between two doubles become one of them
        beyond = Decimal(math.nextafter(number, -math.inf if upwards else math.inf))
        return format((_FLOOR if upwards else _CEILING).plus(beyond), "f")
    return f"'{number!r}'"


def _compare(source: Source, operator: str, constant: str, type_: str) -> str:
    if type_ in _WHOLE:
        wide = "::pg_catalog.int8" if abs(int(constant)) >= _WHOLE["integer"] else ""
        number = f"({constant})" if constant.startswith("-") else constant
        return f"{source.sql} OPERATOR(pg_catalog.{operator}) {number}{wide}"
    cast = "numeric" if type_ == "numeric" else "float8"
    bare = constant if constant.startswith("'") else f"'{constant}'"
    return f"{source.sql} OPERATOR(pg_catalog.{operator}) {bare}::pg_catalog.{cast}"
