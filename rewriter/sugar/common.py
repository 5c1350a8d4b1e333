"""What the table-valued forms share: models and their outputs, aliases, what a statement reads of them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from onnx_models.signature import Signature
from rewriter.catalog import Catalog, ModelInfo
from rewriter.errors import UndeployedModel, UnknownModel
from rewriter.forms.cursor import closing, is_name
from rewriter.names import RESERVED, literal, prefix_free_of
from rewriter.scan import Token
from rewriter.splice import Piece

#: more classes than these have no column of their own in a model table
_MOST_CLASSES = 100
_LONGEST_NAME = 63


def model_of(catalog: Catalog, path: Sequence[str], token: Token) -> ModelInfo:
    """Return the model of a name.

    :raises UnknownModel: if there is none; :class:`UndeployedModel` if no version of it is deployed
    """
    position = token.start + 1
    model = None
    if len(path) == 1 or tuple(path[:-1]) == ("models",):
        try:
            model = catalog.model(path[-1])
        except UndeployedModel as error:
            error.position = position
            raise
    if model is None:
        close = difflib.get_close_matches(path[-1], list(catalog.model_names()), 3, 0.5)
        raise UnknownModel(
            f'model "{".".join(path)}" does not exist',
            hint=f"did you mean {' or '.join(close)}?" if close else "SELECT name FROM ml.models lists yours",
            position=position,
        )
    return model


def class_columns(signature: Signature) -> dict[str, str]:
    """Return the names of the columns of single classes, and the class of each, as a model table has them."""
    if len(signature.classes) > _MOST_CLASSES:
        return {}
    features = {feature.name for feature in signature.features}
    names = {f"probability_{label}": label for label in signature.classes}
    return {
        name: label
        for name, label in names.items()
        if len(name.encode()) <= _LONGEST_NAME and name not in features
    }


def output_names(signature: Signature) -> list[str]:
    """Return the names of a model's outputs, in the order of its table's columns."""
    if signature.task == "regression":
        return ["prediction"]
    return ["prediction", "probability", *class_columns(signature)]


def output(name: str, signature: Signature, model: Sequence[Piece], using: Sequence[Piece]) -> list[Piece]:
    """Return the scalar form that gives an output.

    :param name: one of :func:`output_names`
    :param using: from the word USING on
    """
    if name == "prediction":
        return ["PREDICT(", *model, " ", *using, ")"]
    if name == "probability":
        return ["PROBABILITY(", *model, " ", *using, ")"]
    label = class_columns(signature)[name]
    return ["PROBABILITY(", *model, f" FOR {literal(label).strip()} ", *using, ")"]


def alias_at(tokens: Sequence[Token], index: int) -> tuple[Token | None, int, bool]:
    """Return the alias that stands at a token, the index behind it, and whether it names columns too."""
    begins = index
    if index < len(tokens) and tokens[index].kind == "word" and tokens[index].text == "as":
        index += 1
        if index >= len(tokens) or not tokens[index].is_name:
            return None, begins, False
    elif (
        index >= len(tokens)
        or not is_name(tokens[index])
        or (tokens[index].kind == "word" and tokens[index].text in RESERVED)
    ):
        return None, begins, False
    alias = tokens[index]
    index += 1
    if index < len(tokens) and tokens[index].text == "(" and tokens[index].kind == "punct":
        return alias, (closing(tokens, index) or len(tokens) - 1) + 1, True
    return alias, index, False


def fresh_alias(tokens: Sequence[Token]) -> str:
    """Return an alias that nothing in the statement is called."""
    return prefix_free_of(token.text for token in tokens if token.is_name) + "t"


def reads_all(tokens: Sequence[Token], alias: Token | None) -> bool:
    """Tell whether a statement may read columns of a source without naming them.

    :param alias: the source's alias where it stands, None if it has none
    """
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        after = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if token.kind == "operator" and token.text == "*":
            if alias is not None and before is not None and before.text == ".":
                if tokens[index - 2].text == alias.text:
                    return True
                continue
            if before is not None and before.text in _BEFORE_STAR:
                return True
            if after in _BEHIND_STAR and (before is None or before.text != "("):
                return True
        elif token.kind == "word" and token.text == "natural" and after != "prediction":
            return True
        elif alias is not None and token.is_name and token.text == alias.text and token is not alias:
            # the whole row, unless it qualifies a column, or is one
            qualified = before is not None and before.text == "."
            if after != "." and not qualified:
                return True
    return False


_BEFORE_STAR = ("select", "distinct", "all", "returning", ",", ".")
_BEHIND_STAR_WORDS = "from into where group having window order limit offset fetch for union intersect except"
_BEHIND_STAR = frozenset([*_BEHIND_STAR_WORDS.split(), "returning", ",", ")", ";", ""])


def names_of(tokens: Sequence[Token]) -> frozenset[str]:
    """Return all names that a statement mentions."""
    return frozenset(token.text for token in tokens if token.is_name)
