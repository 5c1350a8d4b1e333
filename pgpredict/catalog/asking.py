"""The rewriter's questions as queries, whoever carries them to the database."""

from __future__ import annotations

import abc
import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from onnx_models.inline import InlineForm
from onnx_models.signature import Signature
from rewriter import Column, ModelInfo, UndeployedModel
from rewriter.errors import UnknownVersion
from rewriter.scan import scan
from rewriter.setting import RULES_OFF, WAY

from . import queries

#: type of a parameter that only another part of the statement uses: PostgreSQL wants one for each number
_TEXT = 25
_MOST_PARAMETERS = 65_535

#: name, oid of the type, modifier
Field = tuple[str, int, int]


class AskingCatalog(abc.ABC):
    """A :class:`rewriter.Catalog` that asks the database each time.

    :param declared: oids of the types of the statement's parameters by number, as far as its sender says
        them; 0 where PostgreSQL is to find out
    """

    def __init__(self, declared: Sequence[int] = ()) -> None:
        self._declared = tuple(declared)
        #: type oid -> (is an array, is a pseudo-type, is composite); types do not change these
        self._types: dict[int, tuple[bool, bool, bool]] = {}
        self._settings: dict[str, str] = {}

    @abc.abstractmethod
    def rows(self, sql: LiteralString, parameters: Sequence[Any] = ()) -> Sequence[Sequence[Any]]:
        """Return the rows of a query.

        :param parameters: of ``$1`` ...: texts, numbers, lists of numbers
        """

    @abc.abstractmethod
    def fields(self, sql: str, types: Sequence[int]) -> Sequence[Field]:
        """Return the columns of a query, which is prepared and never run.

        :param types: oids of its parameters' types, 0 where the server is to find out
        :raises DescribeError: with PostgreSQL's complaint
        """

    @abc.abstractmethod
    def estimated(self, sql: str, parameters: Sequence[int]) -> float | None:
        """Return the answer of ``ml.estimate``; None also where it fails."""

    def model(self, name: str, version: int | None = None) -> ModelInfo | None:
        """Return a model that the caller may use, in its deployed version or in the one asked for.

        :raises UndeployedModel: if no version was ever deployed: then it has no views to ask
        :raises UnknownVersion: naming the versions that there are
        """
        found_rows = (
            self.rows(queries.DEPLOYED, [name])
            if version is None
            else self.rows(queries.PINNED, [name, version])
        )
        if not found_rows:
            return None
        deployed, found, value, target_type, inline, unused, known, way, rules_off = found_rows[0]
        self._settings = {WAY: way or "", RULES_OFF: rules_off or ""}
        if deployed is None:
            raise UndeployedModel(
                f"model {name!r} has no deployed version", hint=f"pgpredict deploy {shlex.quote(name)}"
            )
        if found is None:
            raise UnknownVersion(f"model {name!r} has no version {version}", hint=_versions(known))
        signature = Signature.from_json(value)
        if target_type is not None:
            target = dataclasses.replace(signature.target, type=target_type)
            signature = dataclasses.replace(signature, target=target)
        return ModelInfo(
            name,
            found,
            signature,
            pinned=version is not None,
            inline=_inline(inline),
            unused=frozenset(unused or ()),
        )

    def settings(self) -> Mapping[str, str]:
        """Return what the session had set for the rewriter when it was asked for a model last."""
        return self._settings

    def texts_are_bytes(self) -> bool:
        """Tell whether texts that are equal are so byte by byte, whatever their collation."""
        return bool(self.rows(queries.TEXTS_ARE_BYTES)[0][0])

    def model_names(self) -> Sequence[str]:
        """Return the names of all models that the caller may use."""
        return [row[0] for row in self.rows(queries.MODEL_NAMES)]

    def has_function(self, name: str) -> bool:
        """Tell whether a function of this name is in the search path."""
        return bool(self.rows(queries.FUNCTION, [name])[0][0])

    def is_volatile(self, names: Sequence[str]) -> bool:
        """Tell whether a volatile function has one of these names, in whatever schema."""
        return bool(self.rows(queries.VOLATILE, [list(names)])[0][0])

    def primary_key(self, table: str) -> Sequence[str]:
        """Return the columns of a table's primary key."""
        return [row[0] for row in self.rows(queries.PRIMARY_KEY, [table])]

    def is_steady(self, relations: Sequence[str], functions: Sequence[str]) -> bool:
        """Tell whether none of these calls a volatile function, views in views included."""
        return bool(self.rows(queries.STEADY, [list(relations), list(functions)])[0][0])

    def estimate(self, sql: str) -> float | None:
        """Return how many rows PostgreSQL expects of a query; it is planned, never run.

        None also where planning could crash the server, see ``ml.estimate``: on Multicorn 1.4 for every
        query that reads a model table, directly or through views.
        """
        return self.estimated(sql, _parameters(sql))

    def describe(self, sql: str) -> Sequence[Column]:
        """Return a query's columns; it is prepared, never run.

        :raises DescribeError: with PostgreSQL's complaint
        """
        fields = self.fields(sql, self.parameter_types(sql))
        self._learn([oid for _, oid, _ in fields])
        oids, modifiers = [oid for _, oid, _ in fields], [modifier for *_, modifier in fields]
        names = self.rows(queries.TYPE_NAMES, [oids, modifiers])
        return [
            Column(name, type_name, oid, *self._types[oid])
            for (name, oid, _), (type_name,) in zip(fields, names, strict=True)
        ]

    def parameter_types(self, sql: str) -> list[int]:
        """Return oids of the types of a query's parameters: 0 where PostgreSQL has to find out."""
        numbers = set(_parameters(sql))
        most = max(numbers, default=0)
        declared = [*self._declared[:most], *[0] * (most - len(self._declared))]
        return [declared[number - 1] if number in numbers else _TEXT for number in range(1, most + 1)]

    def _learn(self, oids: Sequence[int]) -> None:
        unknown = sorted(set(oids) - self._types.keys())
        if unknown:
            for oid, *facts in self.rows(queries.TYPES, [unknown]):
                self._types[int(oid)] = (facts[0], facts[1], facts[2])


def _parameters(sql: str) -> list[int]:
    """Return the numbers of the parameters that occur, as far as PostgreSQL knows such numbers."""
    if "$" not in sql:
        return []
    numbers = {int(token.text[1:]) for token in scan(sql) if token.kind == "param"}
    return sorted(number for number in numbers if number <= _MOST_PARAMETERS)


def _inline(value: Mapping[str, Any] | None) -> InlineForm | None:
    if value is None:
        return None
    try:
        return InlineForm.from_json(value)
    except Exception:  # noqa: BLE001 (of another version of ours, or made up by the owner: the artifact answers)
        return None


def _versions(known: Sequence[int]) -> str:
    if len(known) == 1:
        return f"its only version is {known[0]}"
    shown = [str(number) for number in known]
    if len(shown) > 12:
        shown = [*shown[:3], "…", *shown[-8:]]
    return f"its versions are {', '.join(shown)}"
