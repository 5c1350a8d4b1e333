"""The SQL form as JSON: what is written comes back, and nothing else is read."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_models.inline import InlineForm, InvalidForm, Wanted
from onnx_models.inline.codec import DEEPEST
from onnx_models.inline.exact import after, at_rank, last, rank, single
from onnx_models.inline.nodes import (
    Category,
    Input,
    Leaf,
    Linear,
    Lookup,
    Node,
    Number,
    Part,
    Split,
    Term,
    Trees,
    make_split,
)

AGE, CITY = Input("age"), Input("city", text=True, nan=False)
TREE = InlineForm(
    ("age", "city"),
    (AGE, CITY),
    (Number("age"), Category("city", (("Bonn", 1.0), ("Ulm", 2.0)), 0.0, 3.0)),
    Trees(
        (Split(0, 60.5, True, Leaf((0.25,)), Split(1, 1.0, False, Leaf((1.0,)), Leaf((0.0,)))),), (0.0,), 1.0
    ),
    "share",
    "half",
    ("no", "yes"),
)
LINEAR = InlineForm(
    ("age", "seen", "city"),
    (AGE, Input("seen", nan=False), CITY),
    (Number("age"), Part("seen", "date", 2)),
    Linear(
        (1.0, 2.0, 3.0),
        (Term(0, 40.0, -1e6, 1e6, (0.1, 0.2, 0.3), (0.0, 0.0, 0.5)),),
        (Lookup("city", (("Bonn", (1.0, 2.0, 3.0)),), (0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),),
    ),
    "softmax",
    "above",
    ("a", "b", "c"),
)


@pytest.mark.parametrize("form", [TREE, LINEAR])
def test_what_is_written_comes_back(form: InlineForm) -> None:
    assert InlineForm.from_json(json.loads(json.dumps(form.to_json(), allow_nan=False))) == form


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every part of a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    if isinstance(value, list):
        for number, item in enumerate(value):
            found += places(item, (*path, number))
    return found


@pytest.mark.parametrize("form", [TREE, LINEAR])
@pytest.mark.parametrize(
    "wrong", [None, True, "1; DROP TABLE x", "", -7, 1e308, math.nan, math.inf, [], {}, [[]], "\0", "\ud800"]
)
def test_every_part_is_checked(form: InlineForm, wrong: Any) -> None:
    """Whatever is put at any place is refused, or it is data of the same kind and becomes a literal."""
    for path in places(form.to_json()):
        value = copy.deepcopy(form.to_json())
        target = value
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = wrong
        try:
            read = InlineForm.from_json(value)
        except InvalidForm:
            continue
        for name in (*read.features, *read.classes):
            assert isinstance(name, str)
        wanted = [Wanted("label"), Wanted("probability")]
        text = json.dumps([stage.columns for stage in read.render(inputs(read), wanted, "s").stages])
        assert "DROP TABLE" not in text.replace("'1; DROP TABLE x'", "")


def inputs(form: InlineForm) -> dict[str, str]:
    return {feature: f"f{number}" for number, feature in enumerate(form.features)}


@pytest.mark.parametrize("extra", ["sql", "alias"])
def test_unknown_parts_are_refused(extra: str) -> None:
    with pytest.raises(InvalidForm):
        InlineForm.from_json({**TREE.to_json(), extra: "1"})


def test_depth_is_bounded() -> None:
    node: Node = Leaf((1.0,))
    for number in range(DEEPEST + 5):
        node = Split(0, float(number), False, Leaf((0.0,)), node)
    deep = InlineForm(("age",), (AGE,), (Number("age"),), Trees((node,), (0.0,), 1.0), "identity")
    with pytest.raises(InvalidForm, match="too large"):
        InlineForm.from_json(deep.to_json())


def test_texts_become_literals() -> None:
    nasty = 'it\'s \\ "x"\n$1 %s'
    form = InlineForm(
        ("city",),
        (CITY,),
        (Category("city", ((nasty, 1.0),), 0.0, 0.0),),
        Trees((Split(0, 0.0, False, Leaf((0.0,)), Leaf((1.0,))),), (0.0,), 1.0),
        "share",
        "half",
        (nasty, "b"),
    )
    written = form.render({"city": "c"}, [Wanted("label")], "s").outputs[0]
    assert written.count("E'it''s \\\\ \"x\"\n$1 %s'") == 2


def test_only_what_the_model_has() -> None:
    with pytest.raises(ValueError, match="value"):
        TREE.render(inputs(TREE), [Wanted("value")], "s")
    with pytest.raises(ValueError, match="no class"):
        TREE.render(inputs(TREE), [Wanted("probability", "maybe")], "s")


@given(st.floats(allow_nan=False))
def test_rank_is_the_order_of_doubles(number: float) -> None:
    assert math.copysign(1.0, at_rank(rank(number))) == math.copysign(1.0, number)
    assert at_rank(rank(number)) == number
    if number < math.inf:
        assert rank(after(number + 0.0)) == rank(number + 0.0) + 1


@given(st.floats(allow_nan=False, width=32))
def test_last_is_the_border_of_float32(threshold: float) -> None:
    """The largest double that rounds to no more than the threshold; the next one rounds to more."""
    found = last(lambda number: single(number) <= threshold)
    assert found is not None
    assert single(found) <= threshold
    assert found == math.inf or single(after(found)) > threshold


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_last_is_the_border_itself(border: float, number: float) -> None:
    found = last(lambda number: number <= border)
    assert found == border
    assert (number <= border) == (number <= found)


def test_questions_that_decide_nothing_fall_away() -> None:
    one, two = Leaf((1.0,)), Leaf((2.0,))
    assert make_split(0, 5.0, True, one, one) == one
    assert make_split(0, math.inf, True, one, two) == one
    assert make_split(0, -math.inf, False, one, two) == two
    # nothing is low but what is missing
    assert make_split(0, -math.inf, True, one, two) == Split(0, math.inf, False, two, one)
