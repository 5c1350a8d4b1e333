"""The catalog: registering, deploying, rolling back and dropping."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from onnx_models.artifact import sha256
from onnx_models.scoring import Model
from onnx_models.storing import deploy, drop, export, register, rollback
from pgpredict.server.runtime import ask
from tests import graphs, summing
from tests.fix_runtime import eventually
from tests.fix_server import Database

SIGNATURE = {
    "format": 1,
    "task": "regression",
    "target": {"name": "y", "type": "integer"},
    "classes": [],
    "features": [{"name": "a", "type": "integer", "kind": "number"}],
    "binding": {},
    "on_missing": "impute",
}
REGISTER = "SELECT ml.register_version(%s, %s, %s, '{}')"


def version_one(offset: float = 0.0, **types: str) -> bytes:
    return summing.regression(types or {"a": "integer"}, offset=offset)


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        yield connection


def predict(connection: psycopg.Connection, where: str = "a = 1") -> Any:
    row = connection.execute(f"SELECT prediction FROM models.m WHERE {where}").fetchone()
    return row and row[0]


def count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(row[0]) if row else 0


def test_versions_count_up_and_roll_back(connection: psycopg.Connection) -> None:
    for offset in (0, 10, 20):
        summing.store(connection, "m", version_one(offset))
        assert predict(connection) == offset + 1
    assert rollback(connection, "m") == 2
    assert predict(connection) == 11
    assert rollback(connection, "m") == 1
    assert predict(connection) == 1
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no earlier deployment"):
        rollback(connection, "m")
    assert deploy(connection, "m") == 3
    assert rollback(connection, "m") == 1
    shown = connection.execute("SELECT version, deployed FROM ml.versions ORDER BY version").fetchall()
    assert shown == [(1, True), (2, False), (3, False)]


def test_deploying_the_deployed_version_changes_nothing(connection: psycopg.Connection) -> None:
    summing.store(connection, "m", version_one())
    assert deploy(connection, "m") == 1
    assert count(connection, "ml.deployment") == 1


def test_a_model_that_was_never_deployed_has_no_table(connection: psycopg.Connection) -> None:
    summing.store(connection, "m", version_one(), deployed=False)
    assert connection.execute("SELECT name, version, task FROM ml.models").fetchall() == [
        ("m", None, "regression")
    ]
    with pytest.raises(psycopg.errors.UndefinedTable):
        predict(connection)


@pytest.mark.parametrize("savepoint", [False, True])
def test_uncommitted_artifacts_cannot_be_deployed(connection: psycopg.Connection, savepoint: bool) -> None:
    signature = Jsonb(Model.load(version_one()).signature.to_json())
    with connection.transaction(force_rollback=True):
        with connection.transaction() if savepoint else contextlib.nullcontext():
            connection.execute(REGISTER, ("m", signature, version_one()))
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="not committed yet"):
            connection.execute("SELECT ml.deploy('m')")
    assert count(connection, "ml.model") == 0
    # an artifact that is there already may be deployed at once
    summing.store(connection, "other", version_one())
    with connection.transaction():
        connection.execute(REGISTER, ("m", signature, version_one()))
        connection.execute("SELECT ml.deploy('m')")
    assert predict(connection) == 1


def test_deploy_is_transactional(database: Database) -> None:
    with database.connect() as connection, database.connect() as other:
        summing.store(connection, "m", version_one())
        summing.store(connection, "m", version_one(10), deployed=False)
        with connection.transaction(force_rollback=True):
            connection.execute("SELECT ml.deploy('m')")
            assert predict(connection) == 11
            assert predict(other) == 1
        assert predict(connection) == 1
        with other.transaction():
            other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert predict(other) == 1
            deploy(connection, "m")
            assert predict(connection) == 11
            assert predict(other) == 1
        assert predict(other) == 11


def test_one_statement_sees_one_version(database: Database) -> None:
    query = """
        SELECT array_agg(DISTINCT m.prediction - n.i)
        FROM (SELECT i FROM generate_series(1, 200) i OFFSET 0) n JOIN models.m ON m.a = n.i
    """
    stop = threading.Event()

    def flip() -> None:
        with database.connect() as other:
            while not stop.is_set():
                other.execute("SELECT ml.deploy('m', 1)")
                other.execute("SELECT ml.deploy('m', 2)")

    with database.connect() as connection:
        summing.store(connection, "m", version_one())
        summing.store(connection, "m", version_one(1000))
        thread = threading.Thread(target=flip)
        thread.start()
        try:
            seen = [connection.execute(query).fetchall()[0][0] for _ in range(50)]
        finally:
            stop.set()
            thread.join()
    assert {len(offsets) for offsets in seen} == {1}
    assert {offsets[0] for offsets in seen} <= {0.0, 1000.0}


def predicts(database: Database, artifact: str) -> bool:
    """Tell whether the server's runtime is at work with an artifact."""
    if database.server.cluster is None:
        pytest.skip("the runtime of a server that is not ours is not known")
    models = ask(database.server.cluster)["models"]
    return any(model["artifact"] == artifact and model.get("in_use") for model in models)


def test_deploy_and_predictions_do_not_wait_for_each_other(database: Database) -> None:
    with database.connect() as connection, database.connect() as running, database.connect() as other:
        slow, quick = graphs.endless(), graphs.linear((1.0,))
        signature = Model.load(slow).signature
        register(connection, "m", signature, slow, {})
        deploy(connection, "m")
        named_x = Model.load(quick).signature.to_json() | {"features": signature.to_json()["features"]}
        connection.execute(REGISTER, ("m", Jsonb(named_x), quick))
        running.pgconn.send_query(b"SELECT prediction FROM models.m WHERE x = 1")
        eventually(lambda: predicts(database, sha256(slow)))
        # the prediction takes hours
        connection.execute("SET lock_timeout = '20s'")
        other.execute("SET lock_timeout = '20s'")
        with connection.transaction():
            connection.execute("SELECT ml.deploy('m', 2)")
            # neither does an open deployment hold up others
            assert other.execute("SELECT count(*) FROM models.m WHERE x = 1").fetchone() == (1,)
        state = other.execute(
            "SELECT state FROM pg_stat_activity WHERE pid = %s", (running.info.backend_pid,)
        ).fetchone()
        assert state == ("active",)
        assert other.execute("SELECT version FROM ml.models").fetchone() == (2,)
        other.execute("SELECT pg_terminate_backend(%s)", (running.info.backend_pid,))
        running.close()


def test_new_shape(connection: psycopg.Connection) -> None:
    summing.store(connection, "m", version_one())
    summing.store(connection, "m", version_one(a="integer", b="integer"))
    assert predict(connection, "a = 1 AND b = 2") == 3
    summing.store(connection, "m", version_one(c="text"))
    assert predict(connection, "c = 'UA'") == 100
    assert rollback(connection, "m") == 2
    assert predict(connection, "a = 1 AND b = 2") == 3
    tables = connection.execute(
        "SELECT count(*) FROM pg_class WHERE relkind = 'f' AND relnamespace = 'ml_internal'::regnamespace"
    ).fetchone()
    assert tables == (2,)


def test_new_shape_refuses_to_break_views(connection: psycopg.Connection) -> None:
    summing.store(connection, "m", version_one())
    connection.execute("CREATE VIEW public.mine AS SELECT a, prediction FROM models.m")
    version = summing.store(connection, "m", version_one(c="text"), deployed=False)
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as caught:
        deploy(connection, "m", version)
    assert "models.m cannot be dropped" in str(caught.value)
    assert "mine" in str(caught.value.diag.message_detail)
    assert predict(connection) == 1
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        drop(connection, "m")
    assert predict(connection) == 1


def test_drop(connection: psycopg.Connection) -> None:
    summing.store(connection, "m", version_one())
    summing.store(connection, "m", version_one(1))
    summing.store(connection, "twin", version_one())
    drop(connection, "m")
    assert count(connection, "ml.artifact") == 1
    assert connection.execute(
        "SELECT to_regclass('models.m'), to_regclass('models.m__batch'), to_regclass('models.m__version')"
    ).fetchone() == (None, None, None)
    drop(connection, "twin")
    for table in ("ml.artifact", "ml.model", "ml.model_version", "ml.deployment"):
        assert count(connection, table) == 0
    with pytest.raises(psycopg.errors.UndefinedObject, match="'m' does not exist"):
        drop(connection, "m")


def test_export(connection: psycopg.Connection) -> None:
    summing.store(connection, "m", version_one())
    summing.store(connection, "m", version_one(1), deployed=False)
    assert export(connection, "m") == version_one()
    assert export(connection, "m", 2) == version_one(1)
    with pytest.raises(psycopg.errors.UndefinedObject, match="no version 9"):
        export(connection, "m", 9)


def test_notifications(database: Database) -> None:
    with database.connect() as connection, database.connect() as listener:
        listener.execute("LISTEN pgpredict")
        summing.store(connection, "m", version_one())
        summing.store(connection, "m", version_one(1))
        rollback(connection, "m")
        drop(connection, "m")
        events = [json.loads(note.payload)["event"] for note in listener.notifies(timeout=60, stop_after=5)]
    assert events == ["deploy", "deploy", "rollback", "drop", "drop"]


def test_concurrent_registrations_get_different_numbers(database: Database) -> None:
    signature = Jsonb(SIGNATURE)
    numbers: list[int] = []

    def work(worker: int) -> None:
        with database.connect() as connection:
            for step in range(5):
                row = connection.execute(REGISTER, ("m", signature, f"{worker} {step}".encode())).fetchone()
                assert row is not None
                numbers.append(row[0])

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 21))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "signature format '2' is unknown"),
        ({"task": "clustering"}, "task 'clustering' is unknown"),
        ({"target": {"name": "y"}}, "signature has no target"),
        ({"classes": ["a"]}, "classes do not fit the task"),
        ({"features": []}, "signature has no features"),
        ({"features": [{"name": "a"}]}, "a feature lacks name, type or kind"),
        ({"features": SIGNATURE["features"] * 2}, "feature 'a' appears twice"),  # type: ignore[operator]
        (
            {"features": [{"name": "prediction", "type": "integer", "kind": "number"}]},
            "feature 'prediction' is named like a column that every model has",
        ),
        (
            {"features": [{"name": "ctid", "type": "integer", "kind": "number"}]},
            "feature 'ctid' is named like a system column",
        ),
        (
            {"features": [{"name": "ä" * 32, "type": "integer", "kind": "number"}]},
            f"feature name '{'ä' * 32}' is no column name (1 to 63 bytes)",
        ),
    ],
)
def test_bad_signatures(connection: psycopg.Connection, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        connection.execute(REGISTER, ("m", Jsonb(SIGNATURE | changes), b"x"))
    assert caught.value.diag.message_primary == message


@pytest.mark.parametrize("name", ["", "x" * 55, "m__batch", "m__version", "ä" * 28])
def test_bad_names(connection: psycopg.Connection, name: str) -> None:
    with pytest.raises(psycopg.errors.InvalidName):
        connection.execute(REGISTER, (name, Jsonb(SIGNATURE), b"x"))


@pytest.mark.parametrize(
    "name",
    [
        "x" * 54,
        'qu"ote',
        "apo'strophe",
        "UPPER case",
        "ünïcode☃",
        "'); DROP TABLE ml.model; --",
        "a.b",
        "%I %s $1",
    ],
)
def test_odd_names(connection: psycopg.Connection, name: str) -> None:
    summing.store(connection, name, version_one())
    quoted = '"' + name.replace('"', '""') + '"'
    query = f"SELECT prediction FROM models.{quoted} WHERE a = 1"
    assert connection.cursor().execute(query).fetchall() == [(1.0,)]
    connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA models TO PUBLIC")
    for ending in ("__batch", "__version"):
        view = '"' + f"{name}{ending}".replace('"', '""') + '"'
        assert (
            connection.cursor().execute(f"SELECT * FROM models.{view} WHERE batch IS NULL").fetchall() == []
        )
    summing.store(connection, name, version_one(c="text"))
    drop(connection, name)


def test_injection_through_types(connection: psycopg.Connection) -> None:
    hostile = SIGNATURE | {
        "target": {"name": "y'); DROP TABLE ml.model; --", "type": "integer); DROP TABLE ml.model; --"},
        "features": [{"name": 'a" integer); --', "type": "integer'); --", "kind": "'); --"}],
    }
    connection.execute(REGISTER, ("m", Jsonb(hostile), b"x"))
    connection.execute("SELECT ml.deploy('m')")
    assert connection.execute("SELECT target_type FROM ml.models").fetchone() == (
        "integer); DROP TABLE ml.model; --",
    )


def test_drop_waits_for_a_registration_of_the_same_artifact(database: Database) -> None:
    with database.connect() as connection, database.connect() as other:
        summing.store(connection, "m", version_one())
        signature = Jsonb(Model.load(version_one()).signature.to_json())
        dropped = threading.Thread(target=lambda: other.execute("SELECT ml.drop_model('m')"))
        with connection.transaction():
            connection.execute(REGISTER, ("twin", signature, version_one()))
            dropped.start()
            waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
            with database.connect() as watching:
                while watching.execute(waits, (other.info.backend_pid,)).fetchone() != (True,):
                    assert dropped.is_alive()
                    time.sleep(0.01)
        dropped.join()
        assert count(connection, "ml.artifact") == 1
        assert deploy(connection, "twin") == 1


def test_registering_while_the_model_is_dropped_makes_a_new_one(database: Database) -> None:
    """What was trained for hours is not lost to a drop of the older versions."""
    with database.connect() as connection, database.connect(autocommit=False) as dropping:
        for _ in range(2):
            summing.store(connection, "m", summing.regression({"a": "integer"}))
        dropping.execute("SELECT ml.drop_model('m')")
        waiting = connection.info.backend_pid
        with ThreadPoolExecutor(1) as pool:
            artifact = summing.regression({"a": "integer"})
            later = pool.submit(summing.store, connection, "m", artifact, deployed=False)
            query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
            with database.connect() as watching:
                while watching.execute(query, (waiting,)).fetchone() != (True,) and not later.done():
                    time.sleep(0.01)
            dropping.commit()
            assert later.result(120) == 1
