"""The row way: a form becomes a subquery that predicts one row, right wherever an expression may stand.

The batch text of one row is bound to a column of a subselect that PostgreSQL cannot pull up (``OFFSET 0``),
so that the model table sees a plain column: anything else crashes Multicorn 1.4 under EXPLAIN.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.forms import Call
from rewriter.names import literal
from rewriter.plan import Input, Run
from rewriter.splice import Piece

from .batch import concat, head
from .convert import converted, is_text
from .missing import guard
from .outputs import arrays, join


def row_expression(call: Call, run: Run, p: str) -> list[Piece]:
    """Return a scalar subquery named like the form.

    :param p: prefix of our own names
    """
    array, cast = arrays(call, run.model, f"{p}m")
    value: list[Piece] = ["(", *array, f")[1]{'' if cast is None else '::' + cast}"]
    features: list[Piece] = []
    columns = {id(input_): converted(input_) for input_ in run.inputs}
    if run.missing != "impute":
        # what is looked at twice is computed once
        names = {id(input_): f"{p}f.{p}f{number}" for number, input_ in enumerate(run.inputs, 1)}
        listed = _listed(
            [[*columns[id(input_)], f" AS {names[id(input_)].split('.')[1]}"] for input_ in run.inputs]
        )
        columns = {key: [name] for key, name in names.items()}
        # without a row there is nothing to ask, and the subquery is NULL
        complete = guard(run, [names[id(input_)] for input_ in run.inputs])
        features = [" FROM (SELECT ", *listed, f" OFFSET 0) AS {p}f WHERE {complete}"]
    batch = [*_text(run.inputs, columns), f" AS {p}batch"]
    tie = f"OFFSET 0 OPERATOR(pg_catalog.*) pg_catalog.num_nulls(ROW({run.tie}))" if run.tie else "OFFSET 0"
    source = join(run.model, f"{p}m", f"{p}b.{p}batch")
    return [
        "(SELECT ",
        *value,
        f" AS {call.name} FROM (SELECT ",
        *batch,
        *features,
        f" {tie}) AS {p}b {source})",
    ]


def _text(inputs: Sequence[Input], columns: dict[int, list[Piece]]) -> list[Piece]:
    numbers = [input_ for input_ in inputs if not is_text(input_)]
    texts = [input_ for input_ in inputs if is_text(input_)]
    names = head([input_.feature.name for input_ in numbers], [input_.feature.name for input_ in texts])
    parts: list[list[Piece]] = [["""'{"v":1,"rows":1'"""], [literal("," + names)]]
    for input_ in texts:
        parts += [["E'\\n'"], ["pg_catalog.array_to_json(ARRAY[", *columns[id(input_)], "])"]]
    parts.append(["E'\\n'"])
    if numbers:
        values = _listed([columns[id(input_)] for input_ in numbers])
        parts.append(["pg_catalog.encode(ml.raw(ARRAY[ARRAY[", *values, "]]::double precision[]), 'base64')"])
    start, end = concat(len(parts))
    return [start, *_listed(parts), end]


def _listed(parts: Sequence[Sequence[Piece]]) -> list[Piece]:
    return [piece for part in parts for piece in (", ", *part)][1:]
