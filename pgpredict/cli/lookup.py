"""Models of a database, as the commands about them look them up."""

from __future__ import annotations

import importlib.resources
import json
import re
from typing import Any, LiteralString

import psycopg
import rich_click as click
from psycopg.rows import dict_row

from pgpredict.connection import connect
from pgpredict.errors import InvalidInput

from .present import number

dsn_option = click.option("--dsn", metavar="CONNINFO", help="The database; by default the local server.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
#: the metric that a list shows
_HEADLINE = {
    "regression": ("r2", "R²"),
    "binary": ("roc_auc", "ROC AUC"),
    "multiclass": ("accuracy", "accuracy"),
}


def connect_installed(dsn: str | None) -> psycopg.Connection:
    """Connect to a database that has our extension."""
    from onnx_models.storing import require_installed

    connection = connect(dsn, autocommit=True)
    try:
        require_installed(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _query(name: str) -> LiteralString:
    text = importlib.resources.files(__package__ or "").joinpath("models.sql").read_text("utf-8")
    parts: list[Any] = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    found: LiteralString = dict(zip(parts[1::2], parts[2::2], strict=True))[name]
    return found


def rows_of(connection: psycopg.Connection, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """Return the rows of a query of ``models.sql``."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_query(query), parameters).fetchall()


def find_model(connection: psycopg.Connection, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a model and its versions, the newest first.

    :raises InvalidInput: if the caller may use none of this name
    """
    found = rows_of(connection, "model", name)
    if not found:
        known = ", ".join(row["name"] for row in rows_of(connection, "models"))
        raise InvalidInput(
            f"there is no model {name!r} that you may use",
            hint=f"there is {known}" if known else "train one first",
        )
    return found[0], rows_of(connection, "versions", name)


def choose_version(versions: list[dict[str, Any]], name: str, wanted: int | None) -> dict[str, Any]:
    """Return the version that is wanted, by default the deployed one, else the newest.

    :raises InvalidInput: if there is none of this number
    """
    if wanted is None:
        return next((version for version in versions if version["deployed"]), versions[0])
    for version in versions:
        if version["version"] == wanted:
            return version
    numbers = ", ".join(str(version["version"]) for version in versions)
    raise InvalidInput(f"model {name!r} has no version {wanted}", hint=f"it has {numbers}")


def headline(row: dict[str, Any]) -> str:
    """Return the one metric that a list has room for."""
    key, label = _HEADLINE.get(row["task"] or "", ("accuracy", "accuracy"))
    value = (row["metrics"] or {}).get(key)
    return "" if value is None else f"{label} {number(value)}"


def print_json(value: Any) -> None:
    """Print JSON, with what JSON has not as text."""
    click.echo(json.dumps(value, indent=2, default=str))
