"""T-SQL: ``FROM PREDICT(MODEL = m, DATA = t AS d) WITH (score float) AS p``.

Becomes ``t AS d CROSS JOIN LATERAL (SELECT PREDICT(m USING d.*)::float AS score) AS p``: the rows of DATA
keep their alias, as in T-SQL, and the columns of WITH stand beside them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from onnx_models.signature import Signature
from rewriter.catalog import Catalog
from rewriter.errors import MalformedForm, UnknownFeature
from rewriter.forms.cursor import closing, is_name, is_word, path_end
from rewriter.names import quote
from rewriter.scan import Token, scan
from rewriter.splice import Mark, Piece, Span, Splicer, Text

from .common import alias_at, fresh_alias, model_of, output, output_names
from .inplace import put_in_place

FORM = (
    "FROM PREDICT(MODEL = model, DATA = table AS alias [, RUNTIME = ONNX]) WITH (column type, ...) AS alias"
)
#: names of types that PostgreSQL does not have, or has for something else; None: with its modifier
_TYPES = {
    "bit": "boolean",
    "tinyint": "smallint",
    "datetime": "timestamp",
    "datetime2": "timestamp",
    "datetimeoffset": "timestamptz",
    "uniqueidentifier": "uuid",
    "ntext": "text",
}
_TEXTS = {"nvarchar": "varchar", "varchar": "varchar", "nchar": "char"}
_NO_CAST_FROM_BOOLEAN = (
    "float",
    "real",
    "bigint",
    "smallint",
    "tinyint",
    "double",
    "numeric",
    "decimal",
    "dec",
)


@dataclasses.dataclass(frozen=True)
class _Column:
    """A column of WITH: its name and type by their tokens."""

    name: Token
    type: Sequence[Token]


def tsql(sql: str, tokens: Sequence[Token], catalog: Catalog) -> Text | None:
    """Change the first form.

    :raises RewriteError: for one that begins as ours and breaks off
    """
    for index, token in enumerate(tokens):
        if token.text == "predict" and token.kind == "word" and _begins(tokens, index):
            return _Form(sql, tokens, index, catalog).spliced()
    return None


def _begins(tokens: Sequence[Token], index: int) -> bool:
    """``predict(model = x, data = y)`` is a call with two conditions: what follows makes the difference."""
    words = [token.text for token in tokens[index + 1 : index + 4]]
    if words not in (["(", "model", "="], ["(", "data", "="]) or (index and tokens[index - 1].text == "."):
        return False
    close = closing(tokens, index + 1)
    if close is None:
        return False
    if close + 2 < len(tokens) and is_word(tokens[close + 1], "with") and tokens[close + 2].text == "(":
        return True
    depth = tokens[index + 2].depth
    return any(is_word(token, "as") and token.depth == depth for token in tokens[index + 2 : close])


def _split(tokens: Sequence[Token], start: int, end: int) -> list[tuple[int, int]]:
    """Return token ranges between commas."""
    depth = tokens[start].depth
    cuts = [i for i in range(start, end) if tokens[i].text == "," and tokens[i].depth == depth]
    return list(zip([start, *(cut + 1 for cut in cuts)], [*cuts, end], strict=True))


class _Form:
    def __init__(self, sql: str, tokens: Sequence[Token], index: int, catalog: Catalog) -> None:
        self.sql, self.tokens, self.index, self.catalog = sql, tokens, index, catalog
        close = closing(tokens, index + 1)
        self.close = len(tokens) - 1 if close is None else close
        self.path: tuple[str, ...] = ()
        self.model: Token = tokens[index]
        self.model_pieces: list[Piece] = []
        self.data = ""
        self.data_span = Span(0, 0)
        self._arguments()

    def spliced(self) -> Text:
        columns, end = self._columns()
        signature = model_of(self.catalog, self.path, self.model).signature
        outputs = _matched(columns, signature)
        alias, behind, has_columns = alias_at(self.tokens, end)
        start, stop = self.tokens[self.index].start, self.tokens[end - 1].end
        joined = is_word(self.tokens[self.index - 1], "join") if self.index else False
        using: list[Piece] = [Mark(start), f"USING {quote(self.data)}.*"]
        forms: dict[str, list[Piece]] = {}
        for column, name in zip(columns, outputs, strict=True):
            form = output(name, signature, self.model_pieces, using)
            forms[column.name.text] = [*form, *self._cast(column, name, signature)]
        splicer = Splicer(self.sql)
        placed = {name: ["(", *form, ")"] for name, form in forms.items()}
        where = range(self.index, behind)
        if not has_columns and put_in_place(
            self.tokens, where, alias, placed, splicer, at=start, joins_before=False
        ):
            splicer.replace(Span(start, self.tokens[behind - 1].end), [self.data_span])
            return splicer.render([Span(0, len(self.sql))])
        pieces: list[Piece] = [
            Mark(start), "(" if joined else "", self.data_span, " CROSS JOIN LATERAL (SELECT "
        ]  # fmt: skip
        for number, column in enumerate(columns):
            pieces += [", "] if number else []
            pieces += [Mark(start), *forms[column.name.text]]
            pieces += [" AS ", Span(column.name.start, column.name.end)]
        pieces.append(")")
        if alias is None:
            pieces.append(f" AS {fresh_alias(self.tokens)}")
        else:
            stop = self.tokens[behind - 1].end
            pieces += [" ", Span(self.tokens[end].start, stop)]
        splicer.replace(Span(start, stop), [*pieces, ")" if joined else ""])
        return splicer.render([Span(0, len(self.sql))])

    def _malformed(self, message: str, at: int) -> MalformedForm:
        return MalformedForm(message, hint=FORM, position=self.tokens[at].start + 1)

    def _arguments(self) -> None:
        given: set[str] = set()
        for start, end in _split(self.tokens, self.index + 2, self.close):
            name = self.tokens[start].text
            is_named = end > start + 2 and self.tokens[start + 1].text == "="
            if not is_named or name not in ("model", "data", "runtime"):
                raise self._malformed("MODEL =, DATA = or RUNTIME = is expected", start)
            if name in given:
                raise self._malformed(f"{name.upper()} is given twice", start)
            given.add(name)
            if name == "model":
                self._model(start + 2, end)
            elif name == "data":
                self._data(start + 2, end)
            elif not (end == start + 3 and is_word(self.tokens[start + 2], "onnx")):
                raise self._malformed("RUNTIME takes ONNX", start + 2)
        for name, text in (("model", "MODEL = model"), ("data", "DATA = table AS alias")):
            if name not in given:
                raise self._malformed(f"{text} is missing", self.close)

    def _model(self, start: int, end: int) -> None:
        self.model = token = self.tokens[start]
        if path_end(self.tokens, start) == end:
            self.path = tuple(part.text for part in self.tokens[start:end:2])
            self.model_pieces = [Span(token.start, self.tokens[end - 1].end)]
            return
        if token.kind == "string" and end == start + 1 and token.text[0] == "'":
            named = scan(token.text[1:-1].replace("''", "'"))
            if named and path_end(named, 0) == len(named):
                self.path = tuple(part.text for part in named[::2])
                self.model_pieces = [Mark(token.start), ".".join(map(quote, self.path))]
                return
        raise self._malformed("MODEL takes a model's name, as a table's or as a text,", start)

    def _data(self, start: int, end: int) -> None:
        self.data_span = Span(self.tokens[start].start, self.tokens[end - 1].end)
        end = self._without_column_list(start, end)
        last = self.tokens[end - 1]
        before = self.tokens[end - 2]
        has_alias = end - start > 1 and before.text not in (".", "=", "as") and is_name(last)
        labelled = end - start > 2 and is_word(before, "as") and last.is_name
        if not (has_alias or labelled or path_end(self.tokens, start) == end):
            raise self._malformed("DATA needs an alias: DATA = (SELECT ...) AS alias", start)
        self.data = last.text

    def _without_column_list(self, start: int, end: int) -> int:
        """Return where DATA ends without the columns' names behind its alias: ``(VALUES ...) AS d(a, b)``."""
        if self.tokens[end - 1].text != ")":
            return end
        depth = self.tokens[end - 1].depth
        opening = next(i for i in range(end - 2, start - 1, -1) if self.tokens[i].depth == depth)
        alias, before = self.tokens[opening - 1], self.tokens[opening - 2]
        if opening - 2 < start or not alias.is_name:
            return end
        ends_source = before.text == ")" or is_word(before, "as") or (is_name(before) and before.text != ".")
        return opening if ends_source else end

    def _columns(self) -> tuple[list[_Column], int]:
        with_ = self.close + 1
        opening = with_ + 1
        if opening >= len(self.tokens) or not is_word(self.tokens[with_], "with"):
            raise self._malformed("PREDICT(MODEL = ...) needs WITH (column type, ...)", self.close)
        close = closing(self.tokens, opening) if self.tokens[opening].text == "(" else None
        if close is None:
            raise self._malformed("WITH needs (column type, ...)", with_)
        columns = []
        for start, end in _split(self.tokens, opening + 1, close):
            if start == end or not self.tokens[start].is_name:
                raise self._malformed("a column's name is expected", start)
            type_ = list(self.tokens[start + 1 : end])
            for words in (["not", "null"], ["null"]):
                if [token.text for token in type_[-len(words) :]] == words:
                    del type_[-len(words) :]
            if not type_:
                raise self._malformed(f"column {self.tokens[start].text!r} needs a type", end)
            columns.append(_Column(self.tokens[start], type_))
        return columns, close + 1

    def _cast(self, column: _Column, name: str, signature: Signature) -> list[Piece]:
        first, last = column.type[0], column.type[-1]
        word = first.text if first.kind == "word" else ""
        is_boolean = name == "prediction" and signature.target.type == "boolean"
        cast = "::integer::" if is_boolean and word in _NO_CAST_FROM_BOOLEAN else "::"
        if word in _TYPES:
            return [cast, Mark(first.start), _TYPES[word]]
        if word in _TEXTS:
            if [token.text for token in column.type[1:]] == ["(", "max", ")"]:
                return [cast, Mark(first.start), "text"]
            return [cast, Mark(first.start), _TEXTS[word], Span(first.end, last.end)]
        return [cast, Span(first.start, last.end)]


def _matched(columns: Sequence[_Column], signature: Signature) -> list[str]:
    """Return which output each column of WITH is.

    :raises UnknownFeature: for a column that is none
    """
    known = output_names(signature)
    folded = {name.lower(): name for name in known}
    # classes that differ in case only are not told apart by a folded name
    if len(folded) < len(known):
        folded = {name: name for name in known}
    found = [
        column.name.text if column.name.text in known else folded.get(column.name.text) for column in columns
    ]
    others = [
        place
        for place, name in enumerate(found)
        if name is None and not columns[place].name.text.startswith("probability")
    ]
    if len(others) == 1 and "prediction" not in found:
        found[others[0]] = "prediction"
    for column, name in zip(columns, found, strict=True):
        if name is None:
            raise UnknownFeature(
                f"column {column.name.text!r} of WITH is no output of the model",
                hint=f"its outputs: {', '.join(known)}; a single column of another name is the prediction",
                position=column.name.start + 1,
            )
    return [name for name in found if name is not None]
