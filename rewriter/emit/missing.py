"""ON MISSING: what comes of NULL features when the model is not to impute them."""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.names import literal
from rewriter.plan import Run


def guard(run: Run, values: Sequence[str]) -> str:
    """Return a condition that is true where every feature is there; with ``ERROR`` it raises elsewhere.

    :param values: SQL of each feature, in the order of the run's inputs
    """
    complete = f"pg_catalog.num_nulls({', '.join(values)}) OPERATOR(pg_catalog.=) 0"
    if run.missing != "error":
        return complete
    names = ", ".join(literal(input_.feature.name) for input_ in run.inputs)
    missing = ", ".join(f"{value} IS NULL" for value in values)
    return f"({complete} OR ml.missing({literal(run.model.name)}, ARRAY[{names}], ARRAY[{missing}]))"
