"""The construct behind ``predict`` and its like: a column expression, compiled to one of our SQL forms."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Literal, TypeAlias, TypeVar

from sqlalchemy import exc
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter, ColumnClause, ColumnElement
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import TypeEngine

from rewriter.names import NOT_NAMES, literal

from .features import leaves, read_features
from .registry import registry
from .types import UncastText, Untold

_T = TypeVar("_T")

Missing: TypeAlias = Literal["error", "null", "impute"]
#: dialects that have PREDICT, and the one that prints expressions
_DIALECTS = ("postgresql", "default")


class Form(ColumnElement[_T]):
    """PREDICT, PROBABILITY or PREDICTION_SET of a model, made by the functions of those names.

    :ivar name: of the column, where it has no label
    """

    __visit_name__ = "pgpredict_form"
    #: the cache key: statements that differ in nothing else are compiled once
    _traverse_internals = [  # noqa: RUF012 (SQLAlchemy's own way)
        ("name", InternalTraversal.dp_string),
        ("model", InternalTraversal.dp_string),
        ("version", InternalTraversal.dp_plain_obj),
        ("on_missing", InternalTraversal.dp_string),
        ("is_open", InternalTraversal.dp_boolean),
        ("sources", InternalTraversal.dp_clauseelement_tuple),
        ("values", InternalTraversal.dp_clauseelement_tuple),
        ("names", InternalTraversal.dp_plain_obj),
        ("class_constant", InternalTraversal.dp_string),
        ("class_parameter", InternalTraversal.dp_clauseelement),
        ("limits", InternalTraversal.dp_clauseelement_tuple),
        ("type", InternalTraversal.dp_type),
    ]
    # as of a function: "predict_1" in a select list, "predict" in a subquery's columns
    _non_anon_label = None

    def __init__(
        self,
        name: str,
        model: str,
        features: Iterable[Any],
        named: Mapping[str, Any],
        *,
        type_: TypeEngine[_T] | None = None,
        version: int | None = None,
        on_missing: Missing | None = None,
        label: Any = None,
        limits: Iterable[Any] = (),
    ) -> None:
        self.name, self.model = name, model
        self.version, self.on_missing = _checked(version), _one_of(on_missing)
        self.is_open, self.sources, self.values, self.names = read_features(self, features, named)
        is_parameter = isinstance(label, BindParameter)
        self.class_parameter = parameter(label) if is_parameter else None
        self.class_constant = None if label is None or is_parameter else constant(label)
        self.limits = tuple(parameter(limit) for limit in limits)
        self._given_type = type_

    @property
    def type(self) -> TypeEngine[_T]:  # type: ignore[override]
        """The type that was given, or what is known by now, or one that leaves all to the database."""
        if self._given_type is not None:
            return self._given_type
        known = None if self.version is not None else registry.type_of(self.model)
        return Untold() if known is None else known

    @property
    def comparator(self) -> Any:
        """The operators of the type that is known by now."""
        return self.type.comparator_factory(self)

    @property
    def _proxy_key(self) -> str:
        # a hybrid's or a column property's own name comes first
        return str(super()._proxy_key or self.name)

    def get_children(self, **kw: Any) -> Iterator[Any]:
        """Yield what the form is made of, and the columns of its sources, on which it depends."""
        yield from super().get_children(**kw)
        for source in self.sources:
            yield from source.c

    @property
    def _from_objects(self) -> list[Any]:
        parts = chain(self.sources, self.values)
        return [found for part in parts for found in part._from_objects]


def _checked(version: int | None) -> int | None:
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 1):
        raise exc.ArgumentError(f"version {version!r} is no positive integer")
    return version


def _one_of(missing: str | None) -> str | None:
    if missing is not None and missing.lower() not in ("error", "null", "impute"):
        raise exc.ArgumentError(f"on_missing={missing!r} (hint: 'error', 'null' or 'impute')")
    return missing


def constant(value: Any) -> str:
    """Return a class as SQL, for PostgreSQL to cast to the target's type.

    A constant and no parameter: models that are written out as SQL can only be asked for a class that is
    known when the statement is rewritten, and GROUP BY knows the expression of the select list again.

    :raises ArgumentError: for an expression
    """
    if hasattr(value, "__clause_element__") or isinstance(value, ColumnElement):
        raise exc.ArgumentError(
            f"{value} is no class (hint: a class is a value or a bindparam(); for one of each row, CASE)"
        )
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        # as SQLAlchemy's own Enum has it
        value = value.name
    return repr(int(value)) if isinstance(value, int) else literal(str(value)).strip()


def parameter(value: Any) -> BindParameter[Any]:
    """Return a parameter for a place that takes a constant or a parameter, and nothing else: no cast."""
    if isinstance(value, BindParameter):
        copy = value._clone(maintain_key=True)
        copy.type = UncastText()
        return copy
    return BindParameter(None, value, type_=UncastText(), unique=True)


@compiles(Form)
def _compile(form: Form[Any], compiler: SQLCompiler, **kw: Any) -> str:
    if compiler.dialect.name not in _DIALECTS:
        raise exc.CompileError(f"{form.name.upper()} is for PostgreSQL, not for {compiler.dialect.name!r}")
    add_to_result_map = kw.pop("add_to_result_map", None)
    if add_to_result_map is not None:
        add_to_result_map(form.name, form.name, (form, form.name), form.type)
    # what is within is no column of the statement's own
    kw.update(within_columns_clause=False, within_label_clause=False)
    return f"{form.name.upper()}({' '.join(_parts(form, compiler, kw))})"


def _parts(form: Form[Any], compiler: SQLCompiler, kw: dict[str, Any]) -> Iterator[str]:
    arguments = [_quoted(form.model, compiler)]
    if form.version is not None:
        arguments[0] += f" VERSION {form.version}"
    arguments += [compiler.process(limit, **kw) for limit in form.limits]
    yield ", ".join(arguments)
    if form.class_constant is not None:
        doubled = compiler.preparer._double_percents
        yield f"FOR {form.class_constant.replace('%', '%%') if doubled else form.class_constant}"
    elif form.class_parameter is not None:
        yield f"FOR {compiler.process(form.class_parameter, **kw)}"
    features = list(_features(form, compiler, kw))
    if features:
        yield f"USING {', '.join(features)}"
    if form.on_missing is not None:
        yield f"ON MISSING {form.on_missing.upper()}"


def _features(form: Form[Any], compiler: SQLCompiler, kw: dict[str, Any]) -> Iterator[str]:
    if form.is_open:
        yield "*"
    for source in form.sources:
        for leaf in leaves(source):
            star: ColumnClause[Any] = ColumnClause("*", is_literal=True, _selectable=leaf)
            # an UPDATE writes its columns without the table's name, which a star must have
            yield compiler.process(star, **{**kw, "include_table": True})
    for value, name in zip(form.values, form.names, strict=True):
        written = compiler.process(value, **kw)
        own = value.name if isinstance(value, ColumnClause) and not value.is_literal else None
        yield written if name in (None, own) else f"{written} AS {compiler.preparer.quote(str(name))}"


def _quoted(model: str, compiler: SQLCompiler) -> str:
    preparer = compiler.preparer
    return preparer.quote_identifier(model) if model.lower() in NOT_NAMES else preparer.quote(model)
