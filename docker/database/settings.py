"""Settings of the container: its environment, with the names that the official image of PostgreSQL uses.

A variable ``X`` can be given as ``X_FILE``, the path of a secret.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import Refused

RUNTIME_ROLE = "pgpredict_runtime"
#: bytes of a name in PostgreSQL; it cuts longer ones
_NAME_BYTES = 63
#: directories of their own for log and data, which a first start that fails would leave
_ELSEWHERE = re.compile(r"-[dgkNnsSW]*[XD]|--wald|--pg")
#: PostgreSQL's own rule, for scripts that are run with the owner's name in them
_NOT_OF_OWNERS = set("\"$'\\")


@dataclass(frozen=True)
class Settings:
    """What the environment says.

    :param data: the cluster's data directory
    :param user: the superuser
    :param database: made at the first start, with the extension in it
    :param password: the superuser's, needed at the first start only
    :param runtime_password: of the runtime's role; None: it has none
    :param initdb: further arguments of initdb
    :param certificate: for TLS
    :param key: its key
    """

    data: Path
    user: str
    database: str
    password: str | None
    runtime_password: str | None
    initdb: tuple[str, ...]
    certificate: Path | None
    key: Path | None


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings in an environment.

    :raises Refused: if one of them is not valid
    """
    method = environment.get("POSTGRES_HOST_AUTH_METHOD", "scram-sha-256")
    if method != "scram-sha-256":
        raise Refused(
            f"POSTGRES_HOST_AUTH_METHOD is {method!r}; over TCP this image takes passwords, by scram-sha-256",
            hint="leave it out; further rules can go into pg_hba.conf of the data directory",
        )
    data = Path(environment.get("PGDATA") or "/var/lib/postgresql/data")
    if not data.is_absolute():
        raise Refused(f"PGDATA is {str(data)!r}, which is not an absolute path")
    user = _name(environment, "POSTGRES_USER", "postgres")
    if user.startswith("pg_") or user == RUNTIME_ROLE:
        raise Refused(f"POSTGRES_USER is {user!r}, which is reserved", hint="choose another name")
    if set(user) & _NOT_OF_OWNERS:
        raise Refused(
            f"POSTGRES_USER is {user!r}, and no owner of an extension may have one of \"$'\\ in its name"
        )
    runtime_password = value(environment, "PGPREDICT_RUNTIME_PASSWORD")
    if runtime_password is not None and not (runtime_password.isascii() and runtime_password.isprintable()):
        # other letters would have to be normalised as libpq does
        raise Refused("PGPREDICT_RUNTIME_PASSWORD has other characters than printable ASCII")
    certificate, key = (_path(environment, f"PGPREDICT_TLS_{part}_FILE") for part in ("CERT", "KEY"))
    if (certificate is None) != (key is None):
        raise Refused("PGPREDICT_TLS_CERT_FILE and PGPREDICT_TLS_KEY_FILE go together, and one is missing")
    return Settings(
        data,
        user,
        _name(environment, "POSTGRES_DB", user),
        value(environment, "POSTGRES_PASSWORD"),
        runtime_password,
        _words(environment, "POSTGRES_INITDB_ARGS"),
        certificate,
        key,
    )


def value(environment: Mapping[str, str], name: str) -> str | None:
    """Return a variable, or the contents of the file that ``name_FILE`` names; None if neither is set.

    :raises Refused: if both are set, or the file is not there, not readable, empty, or has several lines
    """
    given, path = environment.get(name), environment.get(f"{name}_FILE")
    if path is None or path == "":
        if given == "":
            raise Refused(f"{name} is empty", hint=f"set it, or {name}_FILE to the path of a secret")
        return given
    if given:
        raise Refused(f"both {name} and {name}_FILE are set", hint="leave one of them out")
    source = _path(environment, f"{name}_FILE")
    assert source is not None  # noqa: S101 - its variable is set
    text = source.read_text(encoding="utf-8", errors="surrogateescape")
    text = text[:-1] if text.endswith("\n") else text
    if not text:
        raise Refused(f"the secret {str(source)!r} ({name}_FILE) is empty")
    if "\n" in text or "\0" in text:
        raise Refused(f"the secret {str(source)!r} ({name}_FILE) has more than one line")
    return text


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    given = environment.get(name)
    if not given:
        return None
    path = Path(given)
    if not path.exists():
        raise Refused(
            f"{name} is {given!r}, which does not exist", hint="is the secret or the volume mounted?"
        )
    if not path.is_file():
        raise Refused(
            f"{name} is {given!r}, which is no file",
            hint="an engine makes a directory where the file that it is to mount is missing: make that file",
        )
    if not os.access(path, os.R_OK):
        raise Refused(
            f"{name} is {given!r}, which the uid {os.getuid()} cannot read",
            hint="make the file readable, in a directory that is closed to others: chmod 0444",
        )
    return path


def _name(environment: Mapping[str, str], variable: str, default: str) -> str:
    name = value(environment, variable) if _is_set(environment, variable) else None
    name = default if name is None else name
    if len(os.fsencode(name)) > _NAME_BYTES or any(ord(letter) < 32 for letter in name):
        raise Refused(f"{variable} is {name!r}, which is no name of PostgreSQL", hint="63 bytes at the most")
    return name


def _is_set(environment: Mapping[str, str], variable: str) -> bool:
    # set to nothing is not set, for names: compose files hand on variables that nobody has set
    return bool(environment.get(variable) or environment.get(f"{variable}_FILE"))


def _words(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(environment.get(variable, "")))
    except ValueError as error:
        raise Refused(f"{variable} is {environment[variable]!r}: {error}") from error
    for word in words:
        if _ELSEWHERE.match(word):
            raise Refused(
                f"{variable} names a directory: {word!r}",
                hint="the data directory is PGDATA, with the log in it: take a fast volume for both",
            )
    return words
