"""Writes a form as SQL: columns, then scores, then what is wanted of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import sql
from .form import InlineForm, Rendered, Wanted
from .leaves import answers, is_one_tree, mapped
from .linear_sql import distances, lookup_codes, summands
from .nodes import Category, Leaf, Linear, Number, Part, Trees
from .staging import Stages, parts
from .tree_sql import TreeWriter, text_tests

#: exp() of PostgreSQL is an error beyond; a probability is 0 to 300 digits there
_STEEPEST = 700.0
#: questions about one text that are asked of the text; from then on its number is computed once a row
_FEW_TESTS = 6.0
#: operations that cost as much as a stage
_STAGE = 80
#: probabilities of so many classes are computed each by itself
_FEW_CLASSES = 2


class _Writer:
    def __init__(self, form: InlineForm, inputs: Mapping[str, str], alias: str) -> None:
        self.form, self.inputs = form, inputs
        self.stages = Stages(alias)
        self.known = {item.name: item for item in form.inputs}
        self._columns = self._write_columns()
        self._codes: dict[int, str] = {}
        self._far: dict[int, str] = {}
        if isinstance(form.body, Linear):
            self._far = distances(form.body, form, self._columns, self.stages)
            self._codes = lookup_codes(form.body, inputs, self.stages)
        self._scores: dict[int, str] = {}

    def _write_columns(self) -> dict[int, str]:
        """Return SQL for each column; texts that few questions are about have none."""
        wanted = [column for column in self.form.columns if isinstance(column, Part)]
        dates = parts(wanted, self.inputs, self.stages)
        written: dict[int, str] = {}
        body = self.form.body
        tests = text_tests(body, self.form.columns) if isinstance(body, Trees) else {}
        for position, column in enumerate(self.form.columns):
            if isinstance(column, Number):
                written[position] = sql.parens(self.inputs[column.feature])
            elif isinstance(column, Part):
                written[position] = dates[column]
            elif tests.get(position, 0.0) * len(body.start) > _FEW_TESTS:
                written[position] = self.stages.add(self._number_of(column))
        return written

    def _number_of(self, column: Category) -> str:
        values = [(text, sql.number(value)) for text, value in column.values]
        text = self.inputs[column.feature]
        return sql.choose_text(text, values, sql.number(column.null), sql.number(column.other))

    def score(self, position: int) -> str:
        """Return one score, as often as it is asked for."""
        if position not in self._scores:
            body = self.form.body
            if isinstance(body, Linear):
                pieces = summands(
                    body, position, self.form, self._columns, self.inputs, self._codes, self._far
                )
                self._scores[position] = sql.total(pieces)
            else:
                self._scores[position] = self._sum_of_trees(body, position)
        return self._scores[position]

    def tree_writer(self) -> TreeWriter:
        """Return what writes trees over our columns."""
        return TreeWriter(self.form, self._columns, self.inputs)

    def _sum_of_trees(self, body: Trees, position: int) -> str:
        writer = self.tree_writer()
        # a tree may be about one score only, to which the others add nothing
        trees = [mapped(tree, lambda values: (values[position],)) for tree in body.trees]
        pieces = [writer.tree(tree, _number) for tree in trees if tree != Leaf((0.0,))]
        if body.start[position] or not pieces:
            pieces.append(sql.number(body.start[position]))
        added = sql.total(pieces)
        return added if body.divisor == 1.0 else sql.op(f"({added})", "/", sql.bare(body.divisor))

    def once(self, expression: str) -> str:
        """Have an expression computed once a row, after all that there is."""
        return self.stages.add(expression, self.stages.next_level)


def render(form: InlineForm, inputs: Mapping[str, str], wanted: Sequence[Wanted], alias: str) -> Rendered:
    """Write a form; see :meth:`.form.InlineForm.render`."""
    for item in wanted:
        _check(form, item)
    writer = _Writer(form, inputs, alias)
    if is_one_tree(form):
        outputs = [_of_leaf(form, writer, item) for item in wanted]
    elif form.link == "identity":
        outputs = [writer.score(0)] * len(wanted)
    elif form.link in ("logistic", "share"):
        outputs = _binary(form, writer, wanted)
    else:
        outputs = _several(form, writer, wanted)
    return Rendered(writer.stages.finished(), tuple(outputs))


def _check(form: InlineForm, wanted: Wanted) -> None:
    if (wanted.kind == "value") != (form.link == "identity"):
        raise ValueError(f"a form of {len(form.classes)} classes has no {wanted.kind}")
    if wanted.label is not None and wanted.label not in form.classes:
        raise ValueError(f"there is no class {wanted.label!r}")


def _of_leaf(form: InlineForm, writer: _Writer, wanted: Wanted) -> str:
    """Return what is wanted of a single tree: a constant at each leaf."""
    tree = answers(form, wanted)
    if wanted.kind == "label":
        return writer.tree_writer().tree(tree, lambda leaf: _label(form.classes[int(leaf.values[0])]))
    return writer.tree_writer().tree(tree, _number)


def _number(leaf: Leaf) -> str:
    return sql.number(leaf.values[0])


def _label(text: str) -> str:
    return f"{sql.text_literal(text)}::pg_catalog.text"


def _binary(form: InlineForm, writer: _Writer, wanted: Sequence[Wanted]) -> list[str]:
    score = writer.score(0)
    # the probability of what is predicted reads the score twice where it is no curve of its size alone
    uses = len(wanted) + sum(item.kind == "probability" and form.link == "share" for item in wanted)
    if (uses - 1) * score.count("OPERATOR") > _STAGE:
        score = writer.once(score)
    return [_of_binary(form, score, item) for item in wanted]


def _of_binary(form: InlineForm, score: str, wanted: Wanted) -> str:
    bounded = sql.parens(score)
    operator = ">=" if form.rule == "from" else ">"
    second = sql.op(bounded, operator, "'0.5'" if form.link == "share" else "'0.0'")
    if form.rule == "half" and form.link == "logistic":
        second = sql.op(f"({_logistic(bounded)})", ">", "'0.5'")
    if wanted.kind == "label":
        return sql.case(second, _label(form.classes[1]), _label(form.classes[0]))
    if form.link == "logistic":
        if wanted.label is None:
            return _logistic(f"pg_catalog.abs({score})")
        probability = f"({_logistic(bounded)})"
    else:
        probability = bounded
    if wanted.label is None:
        return sql.case(second, probability, sql.op(sql.number(1.0), "-", probability))
    if wanted.label == form.classes[1]:
        return probability
    return sql.op(sql.number(1.0), "-", probability)


def _logistic(score: str) -> str:
    """Return the logistic curve; its ends are cut off where exp() would be an error."""
    limited = f"LEAST(GREATEST({score}, '{-_STEEPEST}'), '{_STEEPEST}')"
    power = f"pg_catalog.exp({sql.op(sql.number(0.0), '-', limited)})"
    return sql.op(sql.number(1.0), "/", f"({sql.op(sql.number(1.0), '+', power)})")


def _several(form: InlineForm, writer: _Writer, wanted: Sequence[Wanted]) -> list[str]:
    level = writer.stages.next_level
    scores = [writer.stages.add(writer.score(position), level) for position in range(len(form.classes))]
    of_class = dict(zip(form.classes, scores, strict=True))
    largest = f"GREATEST({', '.join(scores)})"
    label = _first_largest(form.classes, scores)
    if form.link == "shares" or all(item.kind == "label" for item in wanted):
        return [
            label if item.kind == "label" else largest if item.label is None else of_class[item.label]
            for item in wanted
        ]
    if sum(item.kind == "probability" for item in wanted) > _FEW_CLASSES:
        return _shares_of_sum(form, writer, wanted, scores, label)
    return [
        label
        if item.kind == "label"
        else _share_of(largest if item.label is None else of_class[item.label], scores)
        for item in wanted
    ]


def _first_largest(classes: Sequence[str], scores: Sequence[str]) -> str:
    """Return the first class of the highest score: each is compared with those behind it."""
    arms = []
    for position, name in enumerate(classes[:-1]):
        behind = scores[position + 1 :]
        highest = behind[0] if len(behind) == 1 else f"GREATEST({', '.join(behind)})"
        arms.append(f"WHEN {sql.op(scores[position], '>=', highest)} THEN {_label(name)}")
    return f"CASE {' '.join(arms)} ELSE {_label(classes[-1])} END"


def _share_of(score: str, scores: Sequence[str]) -> str:
    """Return a class's share by softmax, by itself: one over the sum of e to each other's distance."""
    return sql.op(sql.number(1.0), "/", f"({sql.total([_power(other, score) for other in scores])})")


def _power(score: str, origin: str) -> str:
    distance = sql.op(score, "-", origin)
    return f"pg_catalog.exp(LEAST(GREATEST({distance}, '{-_STEEPEST}'), '{_STEEPEST}'))"


def _shares_of_sum(
    form: InlineForm, writer: _Writer, wanted: Sequence[Wanted], scores: Sequence[str], label: str
) -> list[str]:
    """Return the shares of many classes, which have powers and their sum in common."""
    level = writer.stages.next_level
    largest = f"GREATEST({', '.join(scores)})"
    powers = [writer.stages.add(_power(score, largest), level) for score in scores]
    added = writer.stages.add(sql.total(powers), level + 1)
    shares = {name: sql.op(power, "/", added) for name, power in zip(form.classes, powers, strict=True)}
    most = sql.op(sql.number(1.0), "/", added)
    return [
        label if item.kind == "label" else most if item.label is None else shares[item.label]
        for item in wanted
    ]
