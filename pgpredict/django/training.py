"""Models from Python: what the migration operations do, and what a job or a shell may do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connections, utils

from . import output

if TYPE_CHECKING:
    import psycopg

#: of Django's parameters, those that are no words of libpq's
_NOT_LIBPQ = frozenset(
    ("async", "async_", "autocommit", "connection_factory", "context", "cursor_factory", "prepare_threshold",
     "row_factory", "server_cursor_factory")
)  # fmt: skip
_ERRORS = (
    "InternalError", "IntegrityError", "DataError", "ProgrammingError", "NotSupportedError",
    "OperationalError", "InterfaceError", "DatabaseError", "Error",
)  # fmt: skip


def train(
    name: str,
    query: Any,
    target: str,
    *,
    using: str = DEFAULT_DB_ALIAS,
    exclude: Sequence[str] = (),
    time: str | None = None,
    deploy: bool = True,
    report: Callable[[Any], None] | None = None,
    **options: Any,
) -> int:
    """Train a model and store it as a new version, over a connection of its own.

    Rows that a transaction has not committed yet are not seen.

    :param query: SQL, or a queryset of ``values()``, whose columns are the features and the target
    :param using: alias of the database
    :param exclude: columns that are no features
    :param time: column that says which rows are the newest; these are held out
    :param deploy: whether it is the version that answers from now on
    :param report: told what is being done
    :param options: ``algorithm``, ``parameters``, ``task``, ``test_size``, ``seed``, ``max_categories``
    :returns: the version's number
    :raises django.db.utils.Error: for what makes no model; the reason is its cause
    """
    with connected(using) as connection:
        from onnx_models.reading import Source
        from onnx_models.train import train as train_model
        from onnx_models.training import Options

        source = Source(sql_of(query, using), target, tuple(exclude), time)
        return train_model(connection, name, source, Options(**options), deploy=deploy, report=report).version


def import_model(
    name: str,
    file: str | Path,
    *,
    using: str = DEFAULT_DB_ALIAS,
    features: Sequence[tuple[str, str | None]] = (),
    classes: Sequence[str] = (),
    task: str | None = None,
    target: tuple[str, str | None] | None = None,
    output_name: str | None = None,
    on_missing: str | None = None,
    deploy: bool = True,
) -> int:
    """Store an ONNX file as a new version, over a connection of its own.

    :param features: names and types, in the graph's order, where it does not tell
    :param classes: labels, in the order of the probabilities, where it does not tell
    :param target: name and type of what is predicted
    :param output_name: the graph's output
    :param on_missing: what NULL does: ``impute`` or ``error``; by default it is tried
    :returns: the version's number
    :raises django.db.utils.Error: for a file that is no model, with the reason as its cause
    :raises OSError: for one that cannot be read
    """
    content = Path(file).read_bytes()
    with connected(using) as connection:
        from onnx_models import storing
        from onnx_models.importing import Given
        from onnx_models.importing import import_model as read_model
        from onnx_models.inline.making import make_imported

        given = Given(tuple(features), tuple(classes), task, target, output_name, on_missing)  # type: ignore[arg-type]
        storing.check_can_store(connection, name)
        signature, artifact, rows = read_model(content, given)
        made = make_imported(connection, artifact)
        info = {
            "algorithm": "imported",
            "parity": {"sample_rows": rows, "inline": made.text},
            "training": {"file": Path(file).name},
            **made.info,
        }
        version = storing.register(connection, name, signature, artifact, info)
        if deploy:
            storing.deploy(connection, name, version)
        return version


def has_rows(query: Any, using: str) -> bool:
    """Tell whether a training query gives any row."""
    from onnx_models.training_query import bare

    with connected(using) as connection:
        statement = f"SELECT EXISTS (SELECT FROM ({bare(sql_of(query, using))}\n) AS q)"  # noqa: S608 (the user's)
        return bool(connection.execute(statement.encode()).fetchall()[0][0])


def sql_of(query: Any, using: str) -> str:
    """Return the SQL of a query, which may be a queryset."""
    if isinstance(query, str):
        return query
    sql, parameters = query.query.get_compiler(using=using).as_sql()
    composed: str = connections[using].ops.compose_sql(sql, parameters)
    return composed


@contextlib.contextmanager
def connected(using: str) -> Iterator[psycopg.Connection[Any]]:
    """Give a connection in autocommit to an alias's database, as the same role; errors become Django's."""
    import psycopg
    from psycopg import sql

    from onnx_models.errors import ModelError
    from pgpredict.errors import PgpredictError

    wrapper = connections[using]
    parameters: Mapping[str, Any] = wrapper.get_connection_params()
    words = {key: value for key, value in parameters.items() if key not in _NOT_LIBPQ}
    try:
        with psycopg.connect(**words, autocommit=True) as connection:
            if role := wrapper.settings_dict["OPTIONS"].get("assume_role"):
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            yield connection
    except psycopg.Error as error:
        raise _django_error(error)(*error.args) from error
    except (ModelError, PgpredictError) as error:
        hint = f"\nHINT:  {error.hint}" if error.hint else ""
        raise utils.DataError(f"{error.message}{hint}") from error
    finally:
        output.forget()


def _django_error(error: Exception) -> type[Exception]:
    import psycopg

    name = next(name for name in _ERRORS if isinstance(error, getattr(psycopg, name)))
    found: type[Exception] = getattr(utils, name)
    return found
