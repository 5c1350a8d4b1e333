"""BigQuery: ``FROM ML.PREDICT(MODEL m, TABLE t, STRUCT(0.4 AS threshold)) AS p``.

Becomes ``(SELECT PREDICT(m USING s.*) AS predicted_target, ..., s.* FROM t AS s) AS p``: BigQuery's output
columns, then the input's. ``ml`` is a schema here too: the form is taken only where MODEL and a name stand.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx_models.signature import Signature
from rewriter.catalog import Catalog
from rewriter.emit.convert import type_name
from rewriter.errors import MalformedForm, WrongTask
from rewriter.forms.cursor import closing, is_word, path_end
from rewriter.names import literal, quote
from rewriter.scan import Token
from rewriter.splice import Mark, Piece, Span, Splicer, Text

from .common import alias_at, fresh_alias, model_of, names_of, reads_all

FORM = "FROM ML.PREDICT(MODEL model, TABLE table | (query) [, STRUCT(number AS threshold)]) AS alias"
_USING = "USING s.*"


def bigquery(sql: str, tokens: Sequence[Token], catalog: Catalog) -> Text | None:
    """Change the first form.

    :raises RewriteError: for one that begins as ours and breaks off
    """
    for index, token in enumerate(tokens):
        if token.text == "ml" and token.kind == "word" and _begins(tokens, index):
            return _Form(sql, tokens, index, catalog).spliced()
    return None


def _begins(tokens: Sequence[Token], index: int) -> bool:
    words = [token.text for token in tokens[index + 1 : index + 5]]
    if words != [".", "predict", "(", "model"] or (index and tokens[index - 1].text == "."):
        return False
    # two names in a row are no expression, whatever stands behind them; AT TIME ZONE is three
    name = index + 5
    if name < len(tokens) and tokens[name].text[0] == "`":
        return True
    return path_end(tokens, name) != name and not is_word(tokens[name], "at", "operator")


class _Form:
    def __init__(self, sql: str, tokens: Sequence[Token], index: int, catalog: Catalog) -> None:
        self.sql, self.tokens, self.index, self.catalog = sql, tokens, index, catalog
        close = closing(tokens, index + 3)
        if close is None:
            raise self._malformed("ML.PREDICT has no closing parenthesis", index)
        self.close = close
        self.model = index + 5
        if tokens[self.model].text[0] == "`":
            raise self._malformed('names stand in double quotes here: "model",', self.model)
        self.model_end = path_end(tokens, self.model)
        self.path = tuple(token.text for token in tokens[self.model : self.model_end : 2])

    def spliced(self) -> Text:
        source, behind = self._input()
        threshold = self._threshold(behind)
        signature = model_of(self.catalog, self.path, self.tokens[self.model]).signature
        alias, _, has_columns = alias_at(self.tokens, self.close + 1)
        span = Span(self.tokens[self.index].start, self.tokens[self.close].end)
        pieces: list[Piece] = ["(SELECT ", Mark(span.start)]
        pieces += self._predicted(signature, threshold)
        pieces.append(f" AS {quote(f'predicted_{signature.target.name}')}, ")
        probs = f"predicted_{signature.target.name}_probs"
        if signature.classes and (
            has_columns or probs in names_of(self.tokens) or reads_all(self.tokens, alias)
        ):
            pieces += [Mark(span.start), *self._probs(), f" AS {quote(probs)}, "]
        pieces += ["s.* FROM ", source, " AS s)"]
        if alias is None:
            pieces.append(f" AS {fresh_alias(self.tokens)}")
        splicer = Splicer(self.sql)
        splicer.replace(span, pieces)
        return splicer.render([Span(0, len(self.sql))])

    def _malformed(self, message: str, at: int) -> MalformedForm:
        return MalformedForm(message, hint=FORM, position=self.tokens[at].start + 1)

    def _model_span(self) -> Span:
        return Span(self.tokens[self.model].start, self.tokens[self.model_end - 1].end)

    def _input(self) -> tuple[Span, int]:
        """Return where the table or the query stands, and the index behind it."""
        start = self.model_end + 1
        if self.tokens[self.model_end].text != "," or start >= self.close:
            raise self._malformed("TABLE table or (query) is expected behind the model", self.model_end)
        if is_word(self.tokens[start], "table"):
            end = path_end(self.tokens, start + 1)
            if end == start + 1:
                raise self._malformed("TABLE needs a table's name", end)
            start += 1
        elif self.tokens[start].text == "(":
            end = (closing(self.tokens, start) or start) + 1
        else:
            raise self._malformed("TABLE table or (query) is expected", start)
        return Span(self.tokens[start].start, self.tokens[end - 1].end), end

    def _threshold(self, at: int) -> Token | None:
        if at >= self.close:
            return None
        words = [token.text for token in self.tokens[at : self.close]]
        if words[0] != ",":
            raise self._malformed("a comma or the end of ML.PREDICT is expected", at)
        if words[1:3] != ["struct", "("]:
            raise self._malformed("STRUCT(number AS threshold) is expected", min(at + 1, self.close))
        value = self.tokens[at + 3]
        if words[4:] != ["as", "threshold", ")"] or value.kind not in ("number", "param"):
            raise self._malformed("STRUCT takes a number AS threshold and nothing else", at + 3)
        return value

    def _predicted(self, signature: Signature, threshold: Token | None) -> list[Piece]:
        if threshold is None:
            return ["PREDICT(", self._model_span(), *self._using()]
        if signature.task != "binary":
            raise WrongTask(
                f"model {self.path[-1]!r} is no binary classification, which a threshold is for",
                hint="leave STRUCT(... AS threshold) out",
                position=threshold.start + 1,
            )
        negative, positive = (literal(label).strip() for label in signature.classes)
        # an array and no CASE: one evaluation, and NULL stays NULL
        labels = f"(ARRAY[{negative}, {positive}]::{type_name(signature.target.type)}[])"
        return [
            f"{labels}[1 OPERATOR(pg_catalog.+) (PROBABILITY(", self._model_span(),
            f" FOR {positive}", *self._using(), " OPERATOR(pg_catalog.>=) ",
            Span(threshold.start, threshold.end), ")::integer]",
        ]  # fmt: skip

    def _using(self) -> list[Piece]:
        """Return the end of a scalar form, of which errors point to the whole."""
        return [Mark(self.tokens[self.index].start), f" {_USING})"]

    def _probs(self) -> list[Piece]:
        """Return the classes with their probabilities, under BigQuery's names of the keys.

        A quote inside of a label stands behind a backslash in jsonb's text, so only keys match.
        """
        return [
            "pg_catalog.replace(pg_catalog.replace(PREDICTION_SET(",
            self._model_span(),
            *self._using(),
            "::text, ",
            """'"prediction":', '"label":'), '"probability":', '"prob":')::jsonb""",
        ]  # fmt: skip
