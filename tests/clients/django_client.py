"""What Django sees at a server, told as JSON; its settings are of a process, so it has one of its own."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

import django
import psycopg
from django.conf import settings

NAMES = {"NAME": "PGDATABASE", "USER": "PGUSER", "PASSWORD": "PGPASSWORD", "HOST": "PGHOST", "PORT": "PGPORT"}
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            # psycopg binds parameters at the server, or psycopg2 in the text
            "OPTIONS": {"server_side_binding": sys.argv[1] == "server"},
            **{key: os.environ[name] for key, name in NAMES.items()},
        }
    },
    INSTALLED_APPS=[],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.db import connection, models, transaction
from django.db.models.expressions import RawSQL
from django.db.utils import DatabaseError

PREDICT = "SELECT PREDICT(weight USING %s::float8 AS a)"


class Plain(models.Model):  # type: ignore[misc]
    """A table."""

    name = models.TextField()
    value = models.FloatField(null=True)

    class Meta:
        """Of the model."""

        app_label = "here"
        db_table = "plain"


def one(query: str, *parameters: Any) -> Any:
    """Return the value that a query has."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchone()[0]


def failure(query: str, *parameters: Any) -> Any:
    """Return the driver's error."""
    try:
        one(query, *parameters)
    except DatabaseError as error:
        return error.__cause__
    raise AssertionError("this should have failed")


def cancel(running: psycopg.Connection[Any]) -> None:
    """Cancel a statement once it sleeps: a request that comes before is for nothing."""
    sleeps = "SELECT FROM pg_stat_activity WHERE usename = current_user AND wait_event = 'PgSleep'"
    with psycopg.connect(autocommit=True) as watching:
        while watching.execute(sleeps).fetchone() is None:
            time.sleep(0.02)
    running.cancel_safe()


def main() -> None:
    """Print what is seen."""
    seen: dict[str, Any] = {}
    with connection.schema_editor() as editor:
        editor.create_model(Plain)
    Plain.objects.bulk_create([Plain(name="one"), Plain(name="zwei €", value=2.5)])
    seen["plain"] = list(Plain.objects.order_by("id").values_list("id", "name", "value"))
    seen["predict"], seen["null"] = one(PREDICT, 2.0), str(one(PREDICT, None)).replace("nan", "NaN")
    seen["array"] = one(
        "SELECT array_agg(PREDICT(weight USING x AS a ON MISSING NULL) ORDER BY n) "
        "FROM unnest(%s::float8[]) WITH ORDINALITY AS t(x, n)",
        [1.0, None, 3.0],
    )
    seen["prepared"] = [one(PREDICT, float(number)) for number in range(50)]
    # a query of Django's own, with a form as an expression; read through a cursor of the server's
    Plain.objects.bulk_create([Plain(name="many", value=i) for i in range(1, 100_001)], batch_size=20_000)
    predicted = Plain.objects.filter(name="many").annotate(p=RawSQL("PREDICT(weight USING value AS a)", ()))
    values = [row.p for row in predicted.iterator(chunk_size=10_000)]
    seen["large"] = [len(values), sum(values)]
    assert predicted.filter(p__gt=999_000.0).order_by("-p").first().value == 100_000.0
    Plain.objects.filter(name="many").delete()
    with connection.cursor() as cursor:
        cursor.execute("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
        seen["wide"] = sum(len(text) for (text,) in cursor)
    error = failure("SELECT PREDICT(weihgt USING 1.0 AS a)")
    seen["error"] = [error.sqlstate, int(error.diag.statement_position), error.diag.message_hint]
    try:
        with transaction.atomic():
            predicted = "SELECT 'three', PREDICT(weight USING 1.0::float8 AS a)"
            one(f"INSERT INTO plain (name, value) {predicted} RETURNING id")
            with transaction.atomic():  # a savepoint
                one("INSERT INTO plain (name) VALUES ('four') RETURNING id")
            failure("SELECT PREDICT(weight USING nothing)")
            seen["failed"] = failure(PREDICT, 1.0).sqlstate
            raise RuntimeError
    except RuntimeError:
        seen["rolled_back"] = Plain.objects.filter(name__in=("three", "four")).count()
    canceling = threading.Thread(target=cancel, args=[connection.connection])
    canceling.start()
    seen["canceled"] = failure("SELECT pg_sleep(30), 'PREDICT'").sqlstate
    canceling.join()
    seen["after"] = one(PREDICT, 2.0)
    with connection.cursor() as cursor:
        cursor.execute("LISTEN channel; NOTIFY channel, 'hello'")
    seen["notified"] = next(
        [note.channel, note.payload] for note in connection.connection.notifies(timeout=60, stop_after=1)
    )
    described = connection.introspection.get_table_description(connection.cursor(), "plain")
    assert [column.name for column in described] == ["id", "name", "value"]
    sys.stdout.write(json.dumps(seen))


main()
