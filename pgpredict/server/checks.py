"""A line of what ``pgpredict doctor`` reports, and the checks that all kinds of deployment have in common."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

from pgpredict.errors import PgpredictError

from .database import available_version, extension_version
from .queries import query

State = Literal["ok", "warn", "fail"]

#: bytes; below them the disk is a failure, a warning
DISK_FAIL, DISK_WARN = 200 << 20, 2 << 30
WORK_MEM = 64 << 20

#: by kind of feature, as JSON has them; texts are empty
SAMPLES = {
    "number": 0,
    "boolean": False,
    "date": "2000-01-01",
    "timestamp": "2000-01-01 00:00:00",
    "timestamptz": "2000-01-01 00:00:00+00",
    "time": "12:00:00",
}


@dataclass(frozen=True)
class Check:
    """One line of the report.

    :param name: what was looked at
    :param state: how it is
    :param message: what was found
    :param mend: what to do about it; empty if nothing
    """

    name: str
    state: State
    message: str
    mend: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the line as JSON."""
        return asdict(self)


def guarded(name: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """Yield what a check finds; one that breaks must not hide the others."""
    try:
        yield from check()
    except PgpredictError as error:
        yield Check(name, "fail", error.message, error.hint or "")
    except (OSError, psycopg.Error) as error:
        yield Check(name, "fail", f"{str(error).strip()}")


def check_disk(place: Path, mend: str) -> Iterator[Check]:
    """Look at the room that is left.

    :param place: a directory, which need not exist yet
    """
    path = next(parent for parent in (place, *place.parents) if parent.exists())
    free = shutil.disk_usage(path).free
    state: State = "fail" if free < DISK_FAIL else "warn" if free < DISK_WARN else "ok"
    yield Check(
        "disk", state, f"{free / (1 << 30):.1f} GB free at {str(path)!r}", "" if state == "ok" else mend
    )


def check_settings(connection: psycopg.Connection) -> Iterator[Check]:
    """Look at settings of the server that make predictions slow."""
    row = connection.execute(query("planning")).fetchone()
    jit, work_mem = row if row else ("off", WORK_MEM)
    if jit != "off":
        mend = "ALTER SYSTEM SET jit = off; SELECT pg_reload_conf(): compiling costs 100 ms and more a query"
        yield Check("setting jit", "warn", f"jit is {jit}", mend)
    if work_mem < WORK_MEM:
        mend = "ALTER SYSTEM SET work_mem = '64MB'; SELECT pg_reload_conf(): with less, batches are sorted"
        yield Check("setting work_mem", "warn", f"work_mem is {work_mem >> 20} MB", mend)


def check_database(
    connection: psycopg.Connection, mend_extension: str, mend_runtime: str, *, required: bool
) -> Iterator[Check]:
    """Look at one database: extension, artifacts, and a prediction that goes all the way.

    :param connection: a superuser's, in autocommit
    :param mend_extension: what makes the extension, or brings it up to date
    :param mend_runtime: what to do where predictions fail without a hint
    :param required: whether the extension has to be there
    """
    title = f"database {connection.info.dbname}"
    installed = extension_version(connection)
    if installed is None:
        if required:
            yield Check(title, "fail", "the extension pgpredict is missing", mend_extension)
        return
    if installed != available_version():
        problem = f"extension {installed}, but {available_version()} is here"
        yield Check(title, "fail", problem, mend_extension)
        return
    yield Check(title, "ok", f"extension {installed}")
    bad = connection.execute(query("bad_artifacts")).fetchall()
    for model, version, problem in bad:
        mend = f"train {model!r} again, or restore its artifact from a backup"
        yield Check(f"{title}: {model}", "fail", f"version {version}: its artifact {problem}", mend)
    if not bad:
        row = connection.execute(query("artifacts")).fetchone()
        yield Check(f"{title}: artifacts", "ok", f"{row[0] if row else 0} artifacts fit their hashes")
    yield from check_predictions(connection, title, mend_runtime)


def check_predictions(connection: psycopg.Connection, title: str, mend_runtime: str) -> Iterator[Check]:
    """Ask each deployed model for one prediction, through the server and the runtime.

    All features are NULL, or samples of their kinds where NULL is an error.
    """
    models = connection.execute(query("deployed")).fetchall()
    if not models:
        yield Check(f"{title}: predictions", "ok", "no model is deployed yet")
    for model, on_missing, features in models:
        statement = sql.SQL("SELECT prediction FROM models.{} WHERE features = %s").format(
            sql.Identifier(model)
        )
        sampled = on_missing == "error"
        row = {name: SAMPLES.get(kind, "") if sampled else None for name, kind in features}
        try:
            rows = connection.execute(statement, (json.dumps(row),)).fetchall()
        except psycopg.Error as error:
            # of a runtime that is gone the wrapper says what helps the local server
            hint = None if error.sqlstate == "08001" else error.diag.message_hint
            mend = hint or mend_runtime
            yield Check(
                f"{title}: {model}", "fail", f"no prediction: {error.diag.message_primary or error}", mend
            )
            continue
        if len(rows) == 1:
            given = "a sample row" if sampled else "all features NULL"
            yield Check(f"{title}: {model}", "ok", f"predicts ({given}: {_short(rows[0][0])})")
        else:
            yield Check(
                f"{title}: {model}", "fail", f"{len(rows)} rows came back for one", "report this as a defect"
            )


def _short(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
