"""Trees as nested CASE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from . import sql
from .form import InlineForm
from .nodes import Category, Column, Leaf, Node, Split, Trees

#: words that are compared in the time of a question
_WORDS = 16.0


def text_tests(body: Trees, columns: Sequence[Column]) -> dict[int, float]:
    """Return how much is asked about each text in an ordinary row, in questions of a few words each."""
    tests: dict[int, float] = {}
    for tree in body.trees:
        waiting: list[tuple[Node, float]] = [(tree, 1.0)]
        while waiting:
            node, share = waiting.pop()
            if not isinstance(node, Split):
                continue
            column = columns[node.column]
            if isinstance(column, Category):
                words = len(column.values) / 2
                tests[node.column] = tests.get(node.column, 0.0) + share * (1.0 + words / _WORDS)
            waiting += [(node.low, share / 2), (node.high, share / 2)]
    return tests


class TreeWriter:
    """Writes trees.

    :param columns: SQL of the form's columns, by position; texts that have none are compared themselves
    :param inputs: SQL of the features
    """

    def __init__(self, form: InlineForm, columns: Mapping[int, str], inputs: Mapping[str, str]) -> None:
        self._form, self._columns, self._inputs = form, columns, inputs
        self._nan = {item.name: item.nan for item in form.inputs}

    def tree(self, node: Node, leaf: Callable[[Leaf], str]) -> str:
        """Return a tree.

        :param leaf: SQL of a leaf
        """
        if isinstance(node, Leaf):
            return leaf(node)
        condition, when_true, when_false = self._question(node)
        return sql.case(condition, self.tree(when_true, leaf), self.tree(when_false, leaf))

    def _question(self, split: Split) -> tuple[str, Node, Node]:
        """Return a condition, and where rows go for which it is true, or false or NULL."""
        column = self._form.columns[split.column]
        if isinstance(column, Category) and split.column not in self._columns:
            return self._about_text(column, split)
        value = self._columns[split.column]
        nan = self._nan[column.feature]
        if split.at == float("inf"):
            return (sql.is_no_nan(value) if nan else f"{value} IS NOT NULL"), split.low, split.high
        if not split.missing_low:
            return sql.op(value, "<=", sql.bare(split.at)), split.low, split.high
        condition = sql.op(value, ">", sql.bare(split.at))
        if nan:
            condition += f" AND {sql.is_no_nan(value)}"
        return condition, split.high, split.low

    def _about_text(self, column: Category, split: Split) -> tuple[str, Node, Node]:
        text = self._inputs[column.feature]
        low = [word for word, number in column.values if number <= split.at]
        high = [word for word, number in column.values if not number <= split.at]
        other_low, null_low = column.other <= split.at, column.null <= split.at
        # every other text goes where the list does not say otherwise
        listed, with_null = (high, not null_low) if other_low else (low, null_low)
        conditions = [f"{sql.parens(text)} IS NULL"] if with_null else []
        conditions += [sql.among(text, listed)] if listed else []
        condition = " OR ".join(conditions) or "false"
        return (condition, split.high, split.low) if other_low else (condition, split.low, split.high)
