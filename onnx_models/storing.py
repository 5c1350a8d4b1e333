"""Storing versions in the database and reading about them; each step is a transaction of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from .errors import InvalidParameter, ModelError
from .signature import Signature

#: bytes: the views beside a model's table append to it
LONGEST_NAME = 54
_ENDINGS = ("__batch", "__version")


class NotInstalled(ModelError):
    """A database without our extension, or with an older one."""

    sqlstate = "58000"


def check_can_store(connection: psycopg.Connection, name: str) -> None:
    """Refuse early what storing would refuse after minutes of training.

    :raises NotInstalled: if the database has no pgpredict
    :raises InvalidParameter: for a name that no model can have, or a role that may not make models
    """
    require_installed(connection)
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM ml.models WHERE name = %s),"
        " pg_catalog.has_schema_privilege('models', 'CREATE'), current_user",
        (name,),
    ).fetchone()
    connection.rollback()
    if row and row[0]:
        # an older version of the extension may have allowed other names
        return
    if not name or len(name.encode()) > LONGEST_NAME or name.endswith(_ENDINGS):
        raise InvalidParameter(
            f"{name!r} is no name for a model",
            hint=f'a name has 1 to {LONGEST_NAME} bytes and does not end in "__batch" or "__version"',
        )
    if row and not row[1]:
        raise InvalidParameter(
            f"role {row[2]!r} may not make models", hint=f'GRANT CREATE ON SCHEMA models TO "{row[2]}"'
        )


def require_installed(connection: psycopg.Connection) -> None:
    """Check that the database has our extension, and none that is too old.

    :raises NotInstalled: if not
    """
    row = connection.execute(
        "SELECT pg_catalog.current_database(), pg_catalog.to_regclass('ml.model_version') IS NOT NULL,"
        " pg_catalog.to_regprocedure('ml.estimate(text, integer[])') IS NOT NULL"
    ).fetchone()
    connection.rollback()
    if row and not (row[1] and row[2]):
        raise not_installed(row[0], older=row[1])


def not_installed(database: str, *, older: bool) -> NotInstalled:
    """Return the error for a database without our extension, or with an older one."""
    if older:
        return NotInstalled(
            f"database {database!r} has an older version of the extension pgpredict",
            hint="run pgpredict up or install, or ALTER EXTENSION pgpredict UPDATE as a superuser",
        )
    return NotInstalled(
        f"database {database!r} has no extension pgpredict",
        hint="run pgpredict install, or CREATE EXTENSION pgpredict CASCADE as a superuser",
    )


def register(
    connection: psycopg.Connection, name: str, signature: Signature, artifact: bytes, info: Mapping[str, Any]
) -> int:
    """Store a version and commit.

    :param info: ``algorithm``, ``parameters``, ``metrics``, ``parity`` and ``training``; ``inline``, the
        model as SQL if that was certified (``InlineForm.to_json``); ``unused``, features without influence
    :returns: the version's number
    """
    with connection.transaction():
        return _number(
            connection,
            "SELECT ml.register_version(%s, %s, %s, %s)",
            (name, Jsonb(signature.to_json()), artifact, Jsonb(finite(info))),
        )


def deploy(connection: psycopg.Connection, name: str, version: int | None = None) -> int:
    """Deploy a version that is committed, by default the newest, and commit.

    :returns: its number
    """
    with connection.transaction():
        return _number(connection, "SELECT ml.deploy(%s, %s)", (name, version))


def rollback(connection: psycopg.Connection, name: str) -> int:
    """Deploy what was deployed before, and commit.

    :returns: the number of the version that answers now
    """
    with connection.transaction():
        return _number(connection, "SELECT ml.rollback(%s)", (name,))


def drop(connection: psycopg.Connection, name: str) -> None:
    """Drop a model with all its versions, and commit."""
    with connection.transaction():
        connection.execute("SELECT ml.drop_model(%s)", (name,))


def export(connection: psycopg.Connection, name: str, version: int | None = None) -> bytes:
    """Return a version's ONNX file, by default the deployed one's."""
    with connection.transaction():
        # binary: half the bytes on the way
        cursor = connection.cursor(binary=True)
        row = cursor.execute("SELECT ml.export(%s, %s::integer)", (name, version)).fetchone()
    return bytes(row[0]) if row else b""


def finite(value: Any) -> Any:
    """Return a JSON value without NaN and infinity, which jsonb cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and json.dumps(value) in ("NaN", "Infinity", "-Infinity"):
        return None
    return value


def _number(connection: psycopg.Connection, query: Any, parameters: tuple[Any, ...]) -> int:
    row = connection.execute(query, parameters).fetchone()
    return int(row[0]) if row else 0
