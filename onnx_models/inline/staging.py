"""Expressions that are used more than once, each computed once a row in a stage of its own.

PostgreSQL would compute an expression as often as it is written, and also a subselect's, which it merges into
what reads it, unless an ``OFFSET 0`` stands in between.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_models.calendar import components

from . import sql
from .form import Stage
from .nodes import Part

#: operations that it is worth to do twice instead of adding a stage
_CHEAP = 6


class Stages:
    """Stages under construction.

    :param alias: what all their aliases begin with
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._levels: list[list[tuple[str, str]]] = []

    def add(self, expression: str, level: int = 1) -> str:
        """Compute an expression once a row, and return the column that holds it.

        :param level: 1 if it reads inputs only, else one more than the level of what it reads
        """
        while len(self._levels) < level:
            self._levels.append([])
        columns = self._levels[level - 1]
        for name, known in columns:
            if known == expression:
                return name
        columns.append((f"{self._alias}{level}_{len(columns) + 1}", expression))
        return columns[-1][0]

    @property
    def next_level(self) -> int:
        """The level of an expression that may read every column so far."""
        return len(self._levels) + 1

    def finished(self) -> tuple[Stage, ...]:
        """Return the stages as one, each inside the next."""
        stage: Stage | None = None
        for number, columns in enumerate(self._levels, 1):
            if columns:
                stage = Stage(f"{self._alias}{number}", tuple(columns), stage)
        return () if stage is None else (stage,)


class _Formula:
    """Arithmetic that was written for NumPy, written down instead of done.

    :param operands: formulas, numbers, or for an input its SQL
    """

    def __init__(self, kind: str, *operands: Any) -> None:
        self.kind, self.operands = kind, operands

    def __add__(self, other: _Operand) -> _Formula:
        return _Formula("+", self, other)

    def __sub__(self, other: _Operand) -> _Formula:
        return _Formula("-", self, other)

    def __mul__(self, other: _Operand) -> _Formula:
        return _Formula("*", self, other)

    def __truediv__(self, other: _Operand) -> _Formula:
        return _Formula("/", self, other)

    def __gt__(self, other: _Operand) -> _Formula:
        return _Formula(">", self, other)

    def __lt__(self, other: _Operand) -> _Formula:
        return _Formula("<", self, other)


_Operand = _Formula | float


class _Writer:
    """The names of NumPy that :mod:`onnx_models.calendar` uses."""

    @staticmethod
    def floor(x: _Formula) -> _Formula:
        """Round down."""
        return _Formula("floor", x)

    @staticmethod
    def where(condition: _Formula, x: _Operand, y: _Operand) -> _Formula:
        """Choose."""
        return _Formula("where", condition, x, y)


def parts(wanted: Sequence[Part], inputs: Mapping[str, str], stages: Stages) -> dict[Part, str]:
    """Return an expression for each component of dates that is wanted.

    :param inputs: SQL of each feature's seconds
    """
    formulas: dict[tuple[str, str], list[Any]] = {}
    for part in wanted:
        key = (part.feature, part.kind)
        if key not in formulas:
            seconds = _Formula("input", sql.parens(inputs[part.feature]))
            formulas[key] = components(seconds, part.kind, _Writer)  # type: ignore[arg-type]
    roots = [formulas[part.feature, part.kind][part.part] for part in wanted]
    uses = _count_uses(roots)
    written = _Written(uses, stages)
    return {part: written.reference(root)[0] for part, root in zip(wanted, roots, strict=True)}


@dataclasses.dataclass
class _Written:
    """Formulas as SQL, those that are shared as columns of stages."""

    uses: Mapping[int, int]
    stages: Stages

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._known: dict[int, tuple[str, int, int]] = {}

    def reference(self, formula: _Operand) -> tuple[str, int, int]:
        """Return an operand as SQL, its level (0: inputs only) and its number of operations."""
        if not isinstance(formula, _Formula):
            return sql.bare(formula), 0, 0
        if id(formula) not in self._known:
            expression, level, size = self._write(formula)
            if size * (self.uses[id(formula)] - 1) > _CHEAP:
                level += 1
                expression, size = self.stages.add(expression, level), 0
            self._known[id(formula)] = (expression, level, size)
        return self._known[id(formula)]

    def _write(self, formula: _Formula) -> tuple[str, int, int]:
        if formula.kind == "input":
            return str(formula.operands[0]), 0, 0
        operands = [self.reference(operand) for operand in formula.operands]
        texts = [text for text, _, _ in operands]
        level, size = max(level for _, level, _ in operands), 1 + sum(size for _, _, size in operands)
        if formula.kind == "floor":
            return f"pg_catalog.floor({texts[0]})", level, size
        if formula.kind == "where":
            return sql.case(texts[0], texts[1], texts[2]), level, size
        return f"({sql.op(texts[0], formula.kind, texts[1])})", level, size


def _count_uses(roots: Sequence[_Formula]) -> dict[int, int]:
    uses: dict[int, int] = {}
    waiting = list(roots)
    while waiting:
        formula = waiting.pop()
        uses[id(formula)] = uses.get(id(formula), 0) + 1
        if uses[id(formula)] == 1:
            waiting += [operand for operand in formula.operands if isinstance(operand, _Formula)]
    return uses
