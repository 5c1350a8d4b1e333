"""Features as numbers and texts, the way the batch text carries them."""

from __future__ import annotations

from rewriter.bind import base_type
from rewriter.plan import Input
from rewriter.splice import Mark, Piece


def type_name(type_: str) -> str:
    """Return a type's name as a cast needs it; ``character`` alone would mean ``character(1)``."""
    return "pg_catalog.bpchar" if type_ == "character" else type_


def is_text(input_: Input) -> bool:
    """Tell whether a feature travels as text."""
    return input_.feature.kind == "text"


def converted(input_: Input) -> list[Piece]:
    """Return the expression for the batch: text, or float8 with NULL as NULL.

    A value is first cast to the feature's own type, as a column of the model table would do.
    """
    # what we write around it stands for it
    mark = Mark(input_.at)
    feature, own = input_.feature, [mark, *input_.pieces, mark]
    if feature.kind == "text":
        # only uuid has several ways to be written; a cast to char(n) would cut
        own = [*own, "::uuid"] if feature.type == "uuid" and input_.type != "uuid" else own
        return [*own, "::text"]
    if input_.type is None or base_type(input_.type) != feature.type:
        if feature.kind == "number" and input_.type == "boolean":
            own = [*own, "::integer"]
        own = [*own, f"::{type_name(feature.type)}"]
    if feature.kind == "number":
        return own if feature.type == "double precision" else [*own, "::double precision"]
    if feature.kind == "boolean":
        return [*own, "::integer::double precision"]
    return ["pg_catalog.date_part('epoch', ", *own, ")"]
