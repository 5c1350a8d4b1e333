"""A call of a model as a query expression."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from django.core.exceptions import FieldError
from django.db import router
from django.db.models import Func
from django.db.models.expressions import Col, Ref
from django.db.utils import NotSupportedError

from .features import Star, TableStar, name_of, parse

Missing = Literal["error", "null", "impute"]
_ALIAS = "__prediction{}"


class Form(Func):
    """A call of a model: what the three have in common.

    :param model: its name, as it is stored
    :param features: fields, which are the features of their columns' names, across relations too; ``"*"``
        is all columns of the query's own table, ``"relation__*"`` of a related one. Without any: ``"*"``
    :param version: number of the version to ask; by default the deployed one
    :param on_missing: what a NULL feature makes: ``"error"``, ``"null"`` or ``"impute"``; by default the
        model decides
    :param output_field: the type in Python, where it is to be another one than the model's
    :param features_by_name: features whose names are parameters here, such as ``version``
    :param named: features by name: expressions or values
    :raises TypeError: for a feature without a name, or a text where an expression is due
    :raises ValueError: for a version, an ``on_missing``, that there is not
    """

    window_compatible = False
    constraint_validation_compatible = False
    allowed_default = False

    def __init__(
        self,
        model: str,
        *features: Any,
        version: int | None = None,
        on_missing: Missing | None = None,
        output_field: Any = None,
        features_by_name: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise TypeError(f"{model!r} is no name of a model")
        if version is not None and (type(version) is not int or version < 1):
            raise ValueError(f"version {version!r} is no positive number")
        if on_missing not in (None, "error", "null", "impute"):
            raise ValueError(f"on_missing {on_missing!r} is none of 'error', 'null', 'impute'")
        sources, names = parse(features, {**named, **(features_by_name or {})})
        self._declared: Any = None
        #: of the database that the query is for
        self._alias: str | None = None
        super().__init__(*sources, output_field=output_field)
        self.model, self.version, self.on_missing = model, version, on_missing
        self._names = names

    # The type -----------------------------------------------------------------------------------------

    @property
    def output_field(self) -> Any:
        """The type in Python."""
        return self._declared or self._known_field()

    @output_field.setter
    def output_field(self, field: Any) -> None:
        self._declared = field

    def _known_field(self) -> Any:
        raise NotImplementedError

    @property
    def _output_field_or_none(self) -> Any:
        # Django would remember it
        return self.output_field

    @property
    def convert_value(self) -> Any:
        """The driver gives every value in its own type."""
        return self._convert_value_noop

    # The query ----------------------------------------------------------------------------------------

    def resolve_expression(
        self,
        query: Any = None,
        allow_joins: bool = True,
        reuse: Any = None,
        summarize: bool = False,
        for_save: bool = False,
    ) -> Any:
        """Bind the features to the query's columns."""
        if query is not None and not getattr(query, "alias_cols", True):
            raise FieldError(
                f"{self!r} cannot stand in an index, a constraint or a generated column: "
                "what a model predicts changes when it is deployed"
            )
        if summarize and any(
            isinstance(source, Star | TableStar) for source in self.get_source_expressions()
        ):
            return self._annotated(query)
        resolved = super().resolve_expression(query, allow_joins, reuse, summarize, for_save)
        before, after = self.get_source_expressions(), resolved.get_source_expressions()
        resolved._names = [
            name if name is not None else name_of(source, found, query)
            for name, source, found in zip(self._names, before, after, strict=True)
        ]
        if query is not None and getattr(query, "model", None) is not None:
            resolved._alias = router.db_for_read(query.model)
        return resolved

    def _annotated(self, query: Any) -> Ref:
        """Return what stands for this in an aggregate, after it was made an annotation of the query.

        Django may make a subquery of what it aggregates. It hands on the columns that it sees, and a star is
        none of them; an annotation, it computes inside.
        """
        number = next(n for n in itertools.count(1) if _ALIAS.format(n) not in query.annotations)
        alias = _ALIAS.format(number)
        mask = query.annotation_select_mask
        if mask is not None:
            # Django comes back to the one that it has now; a set, from 5.2 on a list
            (mask.add if isinstance(mask, set) else mask.append)(alias)
        query.add_annotation(self, alias)
        return Ref(alias, query.annotations[alias])

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, list[Any]]:
        """Write the form."""
        if connection.vendor != "postgresql":
            raise NotSupportedError(f"{self.function} needs PostgreSQL; this is {connection.display_name}")
        self._alias = connection.alias
        version = "" if self.version is None else f" VERSION {self.version}"
        parts, params = [f"{escaped(_quoted(self.model))}{version}{self._arguments()}"], []
        features = []
        for source, name in zip(self.get_source_expressions(), self._names, strict=True):
            sql, source_params = compiler.compile(source)
            params.extend(source_params)
            if name is None and isinstance(source, Col):
                name = str(source.target.column)
            if isinstance(source, TableStar):
                features.append(sql)
            elif name is None:
                raise FieldError(f"{source!r} has no name: give it as feature=expression")
            else:
                features.append(f"{sql} AS {escaped(_quoted(name))}")
        parts.append("USING " + ", ".join(features))
        if self.on_missing is not None:
            parts.append(f"ON MISSING {self.on_missing.upper()}")
        return f"{self.function}({' '.join(parts)})", params

    def _arguments(self) -> str:
        """Return what stands between the model's name and its version."""
        return ""

    def copy(self) -> Any:
        """Return a copy that can be resolved by itself."""
        copied = super().copy()
        copied._names = list(self._names)
        return copied

    def __repr__(self) -> str:
        shown = [repr(self.model)]
        for source, name in zip(self.get_source_expressions(), self._names, strict=True):
            shown.append(f"{name}={source!r}" if name else repr(source))
        given = {"version": self.version, "on_missing": self.on_missing, **self._get_repr_options()}
        shown += [f"{key}={value!r}" for key, value in given.items() if value is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def escaped(sql: str) -> str:
    """Return SQL that stands beside parameters, whose sign it may contain."""
    return sql.replace("%", "%%")


def contained(expressions: Sequence[Any]) -> bool:
    """Tell whether one of some expressions predicts."""
    return any(
        isinstance(part, Form)
        for expression in expressions
        if hasattr(expression, "flatten")
        for part in expression.flatten()
    )
