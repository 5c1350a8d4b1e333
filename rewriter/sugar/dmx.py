"""DMX's own order: ``FROM models.m AS y NATURAL PREDICTION JOIN t``, the model before its data.

Becomes ``FROM t NATURAL PREDICTION JOIN models.m AS y``, which :mod:`rewriter.sugar.joined` knows.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.catalog import Catalog
from rewriter.forms.cursor import closing
from rewriter.scan import Token
from rewriter.scope import is_word
from rewriter.splice import Span, Splicer, Text

from .common import alias_at
from .joins import join_words


def dmx(sql: str, tokens: Sequence[Token], catalog: Catalog) -> Text | None:
    """Change the first join that has its model on the left."""
    for word, token in enumerate(tokens):
        if token.text != "join" or word < 3 or not is_word(tokens, word, "join"):
            continue
        start, _, is_prediction = join_words(tokens, word)
        model = _model(tokens, start) if is_prediction else None
        end = _source_end(tokens, word + 1)
        if model is None or end is None:
            continue
        splicer = Splicer(sql)
        data, words, own = (
            Span(tokens[first].start, tokens[last - 1].end)
            for first, last in ((word + 1, end), (start, word + 1), (model, start))
        )
        splicer.replace(Span(own.start, data.end), [data, " ", words, " ", own])
        return splicer.render([Span(0, len(sql))])
    return None


def _model(tokens: Sequence[Token], end: int) -> int | None:
    """Return where ``models.m [[AS] alias]`` begins that ends here, as an entry of FROM."""
    for length in (3, 4, 5):
        first = end - length
        if first < 1 or not (tokens[first].is_name and tokens[first].text == "models"):
            continue
        if tokens[first + 1].text != "." or not tokens[first + 2].is_name:
            continue
        is_alias = length == 3 or alias_at(tokens, first + 3)[1] == end
        if is_alias and (tokens[first - 1].text in (",", "(") or is_word(tokens, first - 1, "from", "join")):
            return first
    return None


def _source_end(tokens: Sequence[Token], start: int) -> int | None:
    """Return the index behind a table, a function or a query, and its alias; None for a model."""
    if start >= len(tokens):
        return None
    if tokens[start].text == "(" and tokens[start].kind == "punct":
        close = closing(tokens, start)
        return None if close is None else alias_at(tokens, close + 1)[1]
    if not tokens[start].is_name:
        return None
    end = start + 1
    while end + 1 < len(tokens) and tokens[end].text == "." and tokens[end + 1].is_name:
        end += 2
    if end == start + 3 and tokens[start].text == "models":
        return None
    if end < len(tokens) and tokens[end].text == "(" and tokens[end].kind == "punct":
        close = closing(tokens, end)
        end = len(tokens) if close is None else close + 1
    return alias_at(tokens, end)[1]
