"""A form as JSON, and back with every part checked.

What is read becomes SQL that others run with their own rights, and whoever may write a version may write
this. So it holds numbers, names and texts only, each of them checked, and all of them bounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar, get_args

from onnx_models.calendar import COMPONENTS
from onnx_models.errors import ModelError

from .form import InlineForm
from .nodes import (
    Body,
    Category,
    Column,
    Input,
    Leaf,
    Linear,
    Link,
    Lookup,
    Node,
    Number,
    Part,
    Rule,
    Split,
    Term,
    Trees,
)

FORMAT = 1
#: nodes of all trees together, and what else there may be of anything
MOST_NODES = 50_000
MOST_ITEMS = 20_000
DEEPEST = 128
_LONGEST_TEXT = 100_000
_MOST_CLASSES = 100
_LARGEST = 1e200
T = TypeVar("T")


class InvalidForm(ModelError):
    """JSON that is no SQL form of a model."""

    sqlstate = "22023"


def to_json(form: InlineForm) -> dict[str, Any]:
    """Write a form."""
    return {
        "format": FORMAT,
        "inputs": [{"name": item.name, "text": item.text, "nan": item.nan} for item in form.inputs],
        "columns": [_column_to_json(column) for column in form.columns],
        "body": _body_to_json(form.body),
        "link": form.link,
        "rule": form.rule,
        "classes": list(form.classes),
    }


def _column_to_json(column: Column) -> dict[str, Any]:
    if isinstance(column, Number):
        return {"number": column.feature}
    if isinstance(column, Part):
        return {"part": column.feature, "kind": column.kind, "of": column.part}
    values = [[text, value] for text, value in column.values]
    return {"category": column.feature, "values": values, "null": column.null, "other": column.other}


def _body_to_json(body: Body) -> dict[str, Any]:
    if isinstance(body, Trees):
        trees = [_node_to_json(tree) for tree in body.trees]
        return {"trees": trees, "start": list(body.start), "divisor": body.divisor}
    terms = [
        {
            "column": term.column,
            "center": term.center,
            # null for infinity, which JSON has not
            "limits": [term.low, term.high] if math.isfinite(term.high - term.low) else None,
            "weights": list(term.weights),
            "missing": list(term.missing),
        }
        for term in body.terms
    ]
    lookups = [
        {
            "feature": lookup.feature,
            "values": [[text, list(numbers)] for text, numbers in lookup.values],
            "null": list(lookup.null),
            "other": list(lookup.other),
        }
        for lookup in body.lookups
    ]
    return {"start": list(body.start), "terms": terms, "lookups": lookups}


def _node_to_json(node: Node) -> Any:
    if isinstance(node, Leaf):
        return list(node.values)
    return {
        "column": node.column,
        # JSON has no infinity
        "at": None if node.at == math.inf else node.at,
        "missing": "low" if node.missing_low else "high",
        "low": _node_to_json(node.low),
        "high": _node_to_json(node.high),
    }


def from_json(value: Mapping[str, Any]) -> InlineForm:
    """Read a form.

    :raises InvalidForm: if any part is not what it should be
    """
    fields = _fields(value, "format", "inputs", "columns", "body", "link", "rule", "classes")
    if fields["format"] != FORMAT or isinstance(fields["format"], bool):
        _refuse(f"format {fields['format']!r} is unknown")
    inputs = tuple(_list(fields["inputs"], _input))
    kinds = {item.name: item.text for item in inputs}
    if len(kinds) != len(inputs):
        _refuse("a feature appears twice")
    columns = tuple(_list(fields["columns"], _column))
    for column in columns:
        if kinds.get(column.feature) is not isinstance(column, Category):
            _refuse(f"there is no such feature {column.feature!r}")
    link, rule = _one_of(fields["link"], get_args(Link)), _one_of(fields["rule"], get_args(Rule))
    classes = tuple(_list(fields["classes"], _text, _MOST_CLASSES))
    if len(set(classes)) != len(classes):
        _refuse("a class appears twice")
    body = _Body(inputs, columns).read(fields["body"])
    _check_link(link, rule, len(classes), len(body.start))
    return InlineForm(tuple(kinds), inputs, columns, body, link, rule, classes)


def _check_link(link: str, rule: str, classes: int, scores: int) -> None:
    wanted = {"identity": (0, 1), "logistic": (2, 1), "share": (2, 1)}.get(link, (classes, classes))
    if (classes, scores) != wanted:
        _refuse(f"{link} of {scores} scores and {classes} classes")
    if classes < 3 and link in ("softmax", "shares"):
        _refuse(f"{link} of {classes} classes")
    if (link == "share") != (rule == "half") and link != "logistic":
        _refuse(f"{link} with the rule {rule!r}")


class _Body:
    """Reads a body.

    :param inputs, columns: of the form
    """

    def __init__(self, inputs: Sequence[Input], columns: Sequence[Column]) -> None:
        self._inputs, self._columns = inputs, columns
        self._texts = {item.name for item in inputs if item.text}
        self._scores = 0
        self._nodes = 0

    def read(self, value: Any) -> Body:
        if not isinstance(value, Mapping):
            _refuse("the body is no object")
        if "trees" in value:
            fields = _fields(value, "trees", "start", "divisor")
            start = self._start(fields["start"])
            trees = tuple(_list(fields["trees"], lambda tree: self._node(tree, 0)))
            divisor = _number(fields["divisor"])
            if not trees or divisor < 1.0:
                _refuse("trees of no number")
            return Trees(trees, start, divisor)
        fields = _fields(value, "start", "terms", "lookups")
        start = self._start(fields["start"])
        return Linear(
            start, tuple(_list(fields["terms"], self._term)), tuple(_list(fields["lookups"], self._lookup))
        )

    def _start(self, value: Any) -> tuple[float, ...]:
        numbers = tuple(_list(value, _number, _MOST_CLASSES))
        self._scores = len(numbers)
        return numbers

    def _numbers(self, value: Any) -> tuple[float, ...]:
        numbers = tuple(_list(value, _number, _MOST_CLASSES))
        if len(numbers) != self._scores:
            _refuse(f"{len(numbers)} numbers for {self._scores} scores")
        return numbers

    def _node(self, value: Any, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > MOST_NODES or depth > DEEPEST:
            _refuse("trees are too large")
        if isinstance(value, list):
            return Leaf(self._numbers(value))
        fields = _fields(value, "column", "at", "missing", "low", "high")
        at = math.inf if fields["at"] is None else _number(fields["at"], math.inf)
        missing_low = _one_of(fields["missing"], ("low", "high")) == "low"
        if at == math.inf and (missing_low or self._is_category(self._column(fields["column"]))):
            _refuse("a question that decides nothing")
        return Split(
            self._column(fields["column"]),
            at,
            missing_low,
            self._node(fields["low"], depth + 1),
            self._node(fields["high"], depth + 1),
        )

    def _may_be_nan(self, column: int) -> bool:
        feature = self._columns[column].feature
        return any(item.nan for item in self._inputs if item.name == feature)

    def _is_category(self, column: int) -> bool:
        return isinstance(self._columns[column], Category)

    def _column(self, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(self._columns):
            _refuse(f"column {value!r}")
        return value

    def _term(self, value: Any) -> Term:
        fields = _fields(value, "column", "center", "limits", "weights", "missing")
        column = self._column(fields["column"])
        limits = [-math.inf, math.inf] if fields["limits"] is None else _list(fields["limits"], _number, 2)
        if self._is_category(column) or len(limits) != 2 or not limits[0] <= limits[1]:
            _refuse("a term without limits")
        if fields["limits"] is None and self._may_be_nan(column):
            _refuse("a term without limits for a number that may be infinite")
        weights = self._numbers(fields["weights"])
        return Term(
            column, _number(fields["center"]), limits[0], limits[1], weights, self._numbers(fields["missing"])
        )

    def _lookup(self, value: Any) -> Lookup:
        fields = _fields(value, "feature", "values", "null", "other")
        feature = _text(fields["feature"])
        if feature not in self._texts:
            _refuse(f"there is no text feature {feature!r}")
        values = tuple(_list(fields["values"], lambda pair: _pair(pair, self._numbers)))
        _refuse_doubled(values)
        return Lookup(feature, values, self._numbers(fields["null"]), self._numbers(fields["other"]))


def _input(value: Any) -> Input:
    fields = _fields(value, "name", "text", "nan")
    if not isinstance(fields["text"], bool) or not isinstance(fields["nan"], bool):
        _refuse("a feature without a type")
    return Input(_text(fields["name"]), fields["text"], fields["nan"])


def _column(value: Any) -> Column:
    if isinstance(value, Mapping) and "number" in value:
        return Number(_text(_fields(value, "number")["number"]))
    if isinstance(value, Mapping) and "part" in value:
        fields = _fields(value, "part", "kind", "of")
        kind, part = _one_of(fields["kind"], tuple(COMPONENTS)), fields["of"]
        if isinstance(part, bool) or part not in range(len(COMPONENTS[kind])):
            _refuse(f"component {part!r} of a {kind}")
        return Part(_text(fields["part"]), kind, part)
    fields = _fields(value, "category", "values", "null", "other")
    values = tuple(_list(fields["values"], lambda pair: _pair(pair, _number)))
    _refuse_doubled(values)
    return Category(_text(fields["category"]), values, _number(fields["null"]), _number(fields["other"]))


def _pair(value: Any, read: Callable[[Any], T]) -> tuple[str, T]:
    if not isinstance(value, list) or len(value) != 2:
        _refuse("a category without a number")
    return _text(value[0]), read(value[1])


def _refuse_doubled(values: Sequence[tuple[str, Any]]) -> None:
    if len({text for text, _ in values}) != len(values):
        _refuse("a category appears twice")


def _fields(value: Any, *names: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or set(value) != set(names):
        _refuse(f"not an object of {', '.join(names)}")
    return value


def _list(value: Any, read: Callable[[Any], T], most: int = MOST_ITEMS) -> list[T]:
    if not isinstance(value, list) or len(value) > most:
        _refuse("a list is missing or too long")
    return [read(item) for item in value]


def _number(value: Any, largest: float = _LARGEST) -> float:
    # abs: NaN is refused, too
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= largest:
        _refuse(f"{str(value)[:40]!r} is no number that can be used")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or "\0" in value:
        _refuse("a text is missing or cannot be used")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidForm("a text of the SQL form is no Unicode") from error
    return value


def _one_of(value: Any, choices: Sequence[Any]) -> Any:
    if not isinstance(value, str) or value not in choices:
        _refuse(f"{str(value)[:40]!r} is none of {', '.join(choices)}")
    return value


def _refuse(what: str) -> NoReturn:
    raise InvalidForm(f"not an SQL form of a model: {what}", hint="train the model again")
