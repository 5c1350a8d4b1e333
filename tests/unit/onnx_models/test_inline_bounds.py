"""What is known of features prunes trees, and conditions on a prediction become boxes; both exactly."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_models.inline import Bounds, InlineForm, Wanted, bounded, regions, threshold
from onnx_models.inline.evaluate import scores
from onnx_models.inline.leaves import answers
from onnx_models.inline.making import form_of
from onnx_models.inline.nodes import (
    Category,
    Input,
    Leaf,
    Linear,
    Lookup,
    Node,
    Number,
    Split,
    Term,
    Trees,
)
from onnx_models.inline.regions import Comparison
from onnx_models.table import Texts, TrainingTable, take
from onnx_models.training import Options, train_table
from tests.fix_models import Task

Row = dict[str, float | str | None]
WORDS = ("Bonn", "Köln", "Ulm")
NUMBERS = (-math.inf, -3.5, 0.0, 1.0, 1.0000000000000002, 2.0, 7.25, 60.0, 1e300, math.inf)


def random_tree(generator: random.Random, depth: int) -> Node:
    if depth == 0 or generator.random() < 0.15:
        return Leaf((generator.choice((0.0, 0.25, 0.5, 1.0)),))
    low, high = random_tree(generator, depth - 1), random_tree(generator, depth - 1)
    column = generator.randrange(3)
    if column == 2:
        return Split(2, generator.choice((0.0, 1.0, 2.0)), False, low, high)
    at = generator.choice((*NUMBERS[1:-1], math.inf))
    return Split(column, at, at < math.inf and generator.random() < 0.5, low, high)


def random_form(seed: int, trees: int = 1) -> InlineForm:
    generator = random.Random(seed)
    numbers = dict(zip(WORDS, (0.0, 1.0, 2.0), strict=True))
    category = Category(
        "city", tuple(numbers.items()), generator.choice((0.0, 3.0)), generator.choice((1.0, 3.0))
    )
    return InlineForm(
        ("x", "y", "city"),
        (Input("x"), Input("y", nan=False), Input("city", text=True, nan=False)),
        (Number("x"), Number("y"), category),
        Trees(tuple(random_tree(generator, 5) for _ in range(trees)), (0.0,), float(trees)),
        "share",
        "half",
        ("no", "yes"),
    )


def random_row(generator: random.Random) -> Row:
    return {
        "x": generator.choice((None, *NUMBERS, generator.uniform(-5.0, 70.0))),
        "y": generator.choice((None, *NUMBERS, generator.uniform(-5.0, 70.0))),
        "city": generator.choice((None, *WORDS, "Mainz")),
    }


def inside(row: Mapping[str, float | str | None], known: Mapping[str, Bounds]) -> bool:
    for name, bounds in known.items():
        value = row[name]
        if value is None:
            if not bounds.missing:
                return False
        elif isinstance(value, str):
            if not bounds.allows(value):
                return False
        elif not bounds.low <= value <= bounds.high:
            return False
    return True


def random_bounds(generator: random.Random) -> dict[str, Bounds]:
    known: dict[str, Bounds] = {}
    for name in ("x", "y"):
        if generator.random() < 0.7:
            low, high = sorted(generator.choices(NUMBERS, k=2))
            known[name] = Bounds(low, high, missing=generator.random() < 0.5)
    if generator.random() < 0.7:
        some = frozenset(generator.sample((*WORDS, "Mainz"), generator.randint(1, 3)))
        missing = generator.random() < 0.5
        known["city"] = Bounds(missing=missing, **{generator.choice(("texts", "excluded")): some})  # type: ignore[arg-type]
    return known


@given(st.integers(0, 10**9))
def test_pruned_trees_give_the_same(seed: int) -> None:
    generator = random.Random(seed)
    form, known = random_form(seed, trees=generator.randint(1, 3)), random_bounds(generator)
    smaller = bounded(form, known)
    assert set(smaller.features) <= set(form.features)
    for _ in range(40):
        row = random_row(generator)
        if inside(row, known):
            assert scores(smaller, row) == scores(form, row)


def test_what_pruning_leaves_away() -> None:
    """WHERE age > 60 leaves the branch above 60.5 and that in between."""
    young, old = Leaf((0.0,)), Split(0, 80.0, False, Leaf((0.5,)), Leaf((1.0,)))
    form = InlineForm(
        ("age",),
        (Input("age"),),
        (Number("age"),),
        Trees((Split(0, 60.0, True, young, old),), (0.0,)),
        "identity",
    )
    above = bounded(form, {"age": Bounds(low=math.nextafter(60.0, math.inf), missing=False)})
    assert above.body == Trees((old,), (0.0,))
    missing_too = bounded(form, {"age": Bounds(low=math.nextafter(60.0, math.inf))})
    assert missing_too == form
    assert bounded(form, {"age": Bounds(high=60.0)}).features == ()


@given(st.integers(0, 10**9), st.sampled_from(get_args(Comparison)))
def test_boxes_are_exactly_the_rows(seed: int, comparison: Comparison) -> None:
    generator = random.Random(seed)
    form = random_form(seed)
    constant = generator.choice((-1.0, 0.0, 0.25, 0.5, 1.0, 2.0))
    wanted = Wanted("probability", "yes")
    boxes = regions(form, wanted, comparison, constant, most=1000)
    assert boxes is not None
    compare = {"<": "__lt__", "<=": "__le__", "=": "__eq__", ">=": "__ge__", ">": "__gt__", "<>": "__ne__"}
    for _ in range(60):
        row = random_row(generator)
        expected = getattr(scores(form, row)[0], compare[comparison])(constant)
        assert sum(inside(row, box) for box in boxes) == expected


def test_boxes_of_a_label() -> None:
    form = random_form(3)
    no, yes = (regions(form, Wanted("label"), "=", name, most=1000) for name in form.classes)
    not_yes = regions(form, Wanted("label"), "<>", "yes", most=1000)
    assert yes is not None
    assert no is not None
    assert no == not_yes
    generator = random.Random(1)
    for _ in range(300):
        row = random_row(generator)
        expected = scores(form, row)[0] > 0.5
        assert any(inside(row, box) for box in yes) == expected
        assert any(inside(row, box) for box in no) != expected
    assert regions(form, Wanted("label"), "=", "maybe") == []
    assert regions(form, Wanted("label"), "<>", "maybe") == [{}]
    assert regions(form, Wanted("label"), "<", "yes") is None


def test_many_boxes_are_none() -> None:
    tree: Node = Leaf((0.0,))
    for number in range(40):
        tree = Split(0, float(39 - number), False, Leaf((float(number % 2),)), tree)
    form = InlineForm(("x",), (Input("x"),), (Number("x"),), Trees((tree,), (0.0,)), "identity")
    assert regions(form, Wanted("value"), "=", 1.0) is None
    touching = regions(form, Wanted("value"), ">=", 0.0)
    assert touching == [{}]


def test_forests_have_no_boxes() -> None:
    assert regions(random_form(1, trees=2), Wanted("label"), "=", "yes") is None


def one_number(weight: float, center: float) -> InlineForm:
    return InlineForm(
        ("x", "city"),
        (Input("x"), Input("city", text=True, nan=False)),
        (Number("x"),),
        Linear(
            (0.1,),
            (Term(0, center, center - 1e6, center + 1e6, (weight,), (0.7,)),),
            (Lookup("city", (("Bonn", (1.5,)),), (0.0,), (-1.5,)),),
        ),
        "identity",
    )


@given(
    st.floats(-100.0, 100.0).filter(lambda weight: abs(weight) > 1e-9),
    st.sampled_from((0.0, 3.7, -1e5)),
    st.sampled_from(("<", "<=", "=", ">=", ">")),
    st.floats(-1e9, 1e9),
    st.sampled_from(("Bonn", "Ulm", None)),
    st.lists(st.floats(allow_nan=False), max_size=20),
)
def test_a_threshold_is_exact(
    weight: float,
    center: float,
    comparison: Comparison,
    constant: float,
    city: str | None,
    values: list[float],
) -> None:
    form = one_number(weight, center)
    found = threshold(form, comparison, constant, {"city": city})
    assert found is not None
    compare = {"<": "__lt__", "<=": "__le__", "=": "__eq__", ">=": "__ge__", ">": "__gt__"}[comparison]

    def holds(value: float | None) -> bool:
        return bool(getattr(scores(form, {"x": value, "city": city})[0], compare)(constant))

    ends = [end for end in (found.low, found.high) if found.low <= found.high]
    near = [math.nextafter(end, away) for end in ends for away in (-math.inf, math.inf)]
    for value in (*values, *ends, *near):
        assert holds(value) == (found.low <= value <= found.high)
    assert holds(None) == found.missing


def test_thresholds_of_nothing_else() -> None:
    form = one_number(1.0, 0.0)
    assert threshold(form, ">", 1.0) is None
    assert threshold(form, "<>", 1.0, {"city": None}) is None
    assert threshold(form, ">", math.nan, {"city": None}) is None
    assert threshold(random_form(1), ">", 1.0) is None
    both = dataclasses.replace(form, inputs=(*form.inputs, Input("z")), features=("x", "city", "z"))
    assert threshold(both, ">", 1.0, {"city": None}) is None


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("algorithm", ["decision_tree", "hist_gradient_boosting", "ridge", "logistic"])
def test_python_computes_what_scikit_learn_does(
    mixed_tables: dict[Task, TrainingTable], task: Task, algorithm: str
) -> None:
    if (algorithm == "ridge") != (task == "regression") and algorithm in ("ridge", "logistic"):
        pytest.skip("for the other task")
    table = mixed_tables[task]
    options = {"max_iter": 5} if algorithm.startswith("hist") else {}
    trained = train_table(table, Options(algorithm=algorithm, parameters=options))
    form = form_of(trained)
    rows = take(table.columns, np.arange(50))
    listed = {
        name: (column.values() if isinstance(column, Texts) else column).tolist()
        for name, column in rows.items()
    }
    expected = trained.fitted.predict(rows)
    for row in range(50):
        values = {name: column[row] for name, column in listed.items()}
        found = scores(form, values)
        if task == "regression":
            assert found[0] == pytest.approx(expected.value[row], rel=1e-12)
        elif task == "multiclass":
            assert found.index(max(found)) == expected.value[row]
        else:
            border = 0.5 if form.link == "share" else 0.0
            assert (found[0] > border) == bool(expected.value[row])


def test_leaves_hold_what_is_wanted() -> None:
    tree = Split(0, 1.0, False, Leaf((0.25,)), Leaf((0.75,)))
    form = InlineForm(
        ("x",), (Input("x"),), (Number("x"),), Trees((tree,), (0.0,)), "share", "half", ("no", "yes")
    )
    assert answers(form, Wanted("label")) == Split(0, 1.0, False, Leaf((0.0,)), Leaf((1.0,)))
    # the prediction is as probable on both sides
    assert answers(form, Wanted("probability")) == Leaf((0.75,))
