"""Joins with model tables, as they stand in the statement."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rewriter.catalog import Catalog, ModelInfo
from rewriter.errors import MalformedForm, UndeployedModel
from rewriter.scan import Token
from rewriter.scope import is_word
from rewriter.splice import Span

from .common import alias_at, model_of
from .mapping import condition_end, ends_join, equations

FORM = "FROM t JOIN models.model AS y [ON y.feature = expression [AND ...]]"


@dataclasses.dataclass
class ModelJoin:
    """A join with a model table that says nothing but where features come from.

    :ivar start: index of the first word of the join, ``word`` of JOIN, ``model`` of the schema's name
    :ivar alias: where the model table's alias stands, or its name
    :ivar end: index behind all that belongs to the join
    :ivar mapped: expressions of the features that ON names
    :ivar has_on: whether there is an ON, so that PostgreSQL could take the join as it stands
    """

    info: ModelInfo
    start: int
    word: int
    model: int
    alias: Token
    is_named: bool
    end: int
    mapped: dict[str, Span]
    has_on: bool

    @property
    def names(self) -> list[tuple[str, ...]]:
        """What columns of the model table can be qualified with."""
        return _names(self.alias, self.is_named)

    @property
    def unmapped(self) -> list[str]:
        """The features that are bound by name."""
        return [feature.name for feature in self.info.signature.features if feature.name not in self.mapped]


def _names(alias: Token, is_named: bool) -> list[tuple[str, ...]]:
    return [(alias.text,)] if is_named else [(alias.text,), ("models", alias.text)]


def find_joins(tokens: Sequence[Token], catalog: Catalog) -> list[ModelJoin]:
    """Return the joins that are ours; those that PostgreSQL can answer as they stand are not.

    :raises MalformedForm: for a RIGHT or FULL JOIN without ON
    :raises UnknownModel: for a join without ON with something that is no model
    """
    found = []
    for index, token in enumerate(tokens[:-3]):
        if token.text == "join" and tokens[index + 1].text == "models" and _is_join(tokens, index):
            join = _join(tokens, index, catalog)
            if join is not None:
                found.append(join)
    return found


def _is_join(tokens: Sequence[Token], word: int) -> bool:
    named = tokens[word + 1].is_name and tokens[word + 2].text == "." and tokens[word + 3].is_name
    return named and word > 0 and is_word(tokens, word, "join")


def _join(tokens: Sequence[Token], word: int, catalog: Catalog) -> ModelJoin | None:
    start, kind, is_prediction = join_words(tokens, word)
    if kind == "cross" or (kind == "natural" and not is_prediction):
        return None
    alias, behind, has_columns = alias_at(tokens, word + 4)
    if alias is not None and alias.text == "prediction" and is_word(tokens, behind, "join"):
        alias, behind = None, behind - 1
    if has_columns or (behind < len(tokens) and tokens[behind].text in (".", "*", "(")):
        return None
    if is_word(tokens, behind, "using", "tablesample"):
        return None
    name = tokens[word + 3]
    # what follows without ON would be an error in PostgreSQL
    has_on = is_word(tokens, behind, "on") and not _is_conflict(tokens, behind)
    if not has_on and _has_later_on(tokens, behind, tokens[word].depth):
        return None
    if not has_on and kind in ("right", "full"):
        raise MalformedForm(
            f"{kind.upper()} JOIN with a model has no rows to keep: a model table has none of its own",
            hint=FORM,
            position=tokens[start].start + 1,
        )
    if kind in ("right", "full") or (has_on and kind == "natural"):
        return None
    try:
        info = catalog.model(name.text) if has_on else model_of(catalog, ("models", name.text), name)
    except UndeployedModel:
        if not has_on:
            raise
        info = None
    if info is None:
        return None
    mapped: dict[str, Span] | None = {}
    end = behind
    if has_on:
        end = condition_end(tokens, behind + 1)
        features = [feature.name for feature in info.signature.features]
        mapped = equations(tokens, behind + 1, end, _names(alias or name, alias is not None), features)
        if mapped is None or (len(mapped) == len(features) and not is_prediction):
            # all features are given: this is plain SQL, and NULL = NULL is not true there
            return None
    return ModelJoin(
        info, start, word, word + 1, alias or name, alias is not None, end, mapped or {},
        has_on and not is_prediction,
    )  # fmt: skip


def join_words(tokens: Sequence[Token], word: int) -> tuple[int, str, bool]:
    """Return where the words of a join begin, its kind, and whether PREDICTION is one of them."""
    start, kind = word, "inner"
    is_prediction = _is_keyword(tokens, word - 1)
    start -= is_prediction
    if is_word(tokens, start - 1, "outer"):
        start -= 1
    if is_word(tokens, start - 1, "left", "right", "full", "inner", "cross"):
        kind = tokens[start - 1].text
        start -= 1
    if is_word(tokens, start - 1, "natural"):
        kind = "natural"
        start -= 1
    return start, kind, is_prediction


def _is_keyword(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether PREDICTION before JOIN is DMX's word rather than an alias of the table before it."""
    if index < 2 or not is_word(tokens, index, "prediction"):
        return False
    if is_word(tokens, index - 1, "natural", "left", "outer", "inner"):
        return True
    if tokens[index - 1].text == ")":
        return False
    before = tokens[index - 2]
    if (before.is_name and before.text not in ("from", "join", "only", "lateral")) or before.text == ")":
        return True
    qualifies = any(
        token.is_name and token.text == "prediction" and tokens[at + 1].text == "."
        for at, token in enumerate(tokens[:-1])
    )
    return not qualifies


def _is_conflict(tokens: Sequence[Token], on: int) -> bool:
    if not is_word(tokens, on + 1, "conflict"):
        return False
    return on + 2 < len(tokens) and tokens[on + 2].text in ("do", "(", "on")


def _has_later_on(tokens: Sequence[Token], index: int, depth: int) -> bool:
    """Tell whether an ON further on belongs to this join, as in ``a JOIN m JOIN c ON ... ON ...``."""
    pending = 0
    while index < len(tokens) and tokens[index].depth >= depth:
        if tokens[index].depth == depth:
            if is_word(tokens, index, "join"):
                pending += join_words(tokens, index)[1] not in ("cross", "natural")
            elif _is_condition(tokens, index):
                if not pending:
                    return True
                pending -= 1
                index = condition_end(tokens, index + 1)
                continue
            elif ends_join(tokens, index) and not is_word(tokens, index, *_JOIN_WORDS):
                return False
        index += 1
    return False


_JOIN_WORDS = ("inner", "cross", "natural", "left", "right", "full", "prediction")


def _is_condition(tokens: Sequence[Token], index: int) -> bool:
    if is_word(tokens, index, "using"):
        return index + 1 < len(tokens) and tokens[index + 1].text == "("
    return is_word(tokens, index, "on") and not _is_conflict(tokens, index)
