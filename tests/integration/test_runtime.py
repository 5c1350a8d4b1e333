from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
import struct
import threading
import time

import numpy as np
import psutil
import psycopg
import pytest
from psycopg import sql

from fdw import protocol
from pgpredict.runtime import RuntimeClient
from pgpredict.runtime.artifacts import Databases
from pgpredict.runtime.errors import NotRunning
from pgpredict.runtime.framing import read_frame
from tests import graphs
from tests.fix_runtime import RunningRuntime, eventually, fetch_value, store
from tests.fix_server import Database, Server

BATCH = """
    SELECT '{{"v":1,"rows":' || count(*) || ',"numbers":["a","b"],"texts":[]}}' || E'\\n'
        || encode(ml.raw(array_agg(ARRAY[a, b]::float8[])), 'base64')
    FROM (SELECT g AS a, CASE WHEN g % 3 <> 0 THEN g / 2.0 END AS b FROM generate_series(1, {}) g) s
"""


def batch(database: Database, rows: int) -> bytes:
    with database.connect() as connection:
        text: str = fetch_value(connection, sql.SQL(BATCH).format(sql.Literal(rows)))
        return text.encode()


def loaded(runtime: RunningRuntime, artifact: str) -> bool:
    return any(model["artifact"] == artifact and model["loaded"] for model in runtime.status()["models"])


@pytest.mark.parametrize("rows", [1, 2, 20_000])
def test_a_batch_as_postgresql_writes_it(
    shared_runtime: RunningRuntime, database: Database, rows: int
) -> None:
    request = store(database, graphs.linear((1, 10)))
    with shared_runtime.client() as client:
        answer, (blob,) = client.request({**request, "outputs": ["prediction"]}, [batch(database, rows)])
    assert answer == {"ok": True, "rows": rows, "classes": [], "outputs": ["prediction"]}
    with database.connect() as connection:
        values = fetch_value(connection, "SELECT ml.float8s(%s)", [bytes(blob)])
    wanted = [a + 10 * (a / 2) if a % 3 else np.nan for a in range(1, rows + 1)]
    np.testing.assert_array_equal(values, wanted)


def test_one_hundred_connections_share_one_copy(shared_runtime: RunningRuntime, database: Database) -> None:
    request = {**store(database, graphs.linear((1, 2, 3))), "features": {"a": 1, "b": 1, "c": 1}}
    before = shared_runtime.status()["loads"]
    clients = [shared_runtime.client() for _ in range(100)]
    try:
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda client: client.request(request)[0], clients))
        assert answers == [{"ok": True, "prediction": 6.0}] * 100
        status = shared_runtime.status()
        assert status["loads"] == before + 1
        assert status["connections"] >= 100
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    ("content", "name", "sqlstate", "clause"),
    [
        (graphs.linear(), "0" * 64, "XX001", "damaged"),
        (b"junk", None, "22023", "not an ONNX model"),
        (graphs.failing(), None, "22000", "graph failed"),
    ],
)
def test_artifacts_that_fail_leave_the_runtime_well(
    shared_runtime: RunningRuntime,
    database: Database,
    content: bytes,
    name: str | None,
    sqlstate: str,
    clause: str,
) -> None:
    with database.connect() as connection:
        constraint = (
            "SELECT conname FROM pg_constraint WHERE conrelid = 'ml.artifact'::regclass AND contype = 'c'"
        )
        name_of = sql.Identifier(fetch_value(connection, constraint))
        connection.execute(sql.SQL("ALTER TABLE ml.artifact DROP CONSTRAINT {}").format(name_of))
    good = {**store(database, graphs.linear((7,))), "features": {"a": 1}}
    bad = {**store(database, content, name), "features": {"a": 1, "b": 1, "x": 1}}
    with shared_runtime.client() as client:
        for _ in range(2):
            answer, _ = client.request(bad)
            assert (answer["ok"], answer["sqlstate"]) == (False, sqlstate)
            assert clause in answer["message"]
        assert client.request(good)[0] == {"ok": True, "prediction": 7.0}


def test_artifacts_and_databases_that_are_not_there(
    shared_runtime: RunningRuntime, database: Database
) -> None:
    request = {**store(database, graphs.linear((1,))), "features": {"a": 1}}
    with shared_runtime.client() as client:
        assert client.request({**request, "artifact": "1" * 64})[0]["sqlstate"] == "42704"
        assert client.request({**request, "artifact": "1" * 64, "database": 1})[0]["sqlstate"] == "42704"
        answer, _ = client.request({**request, "artifact": "2" * 64, "database": 4_000_000_000})
        assert answer["sqlstate"] == "3D000"


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PGP1" + b"\xff" * 12,
        protocol.HEAD.pack(protocol.MAGIC, 2, 0) + b"[]",
        protocol.HEAD.pack(protocol.MAGIC, 5, 0) + b"\xff{}{}",
        protocol.HEAD.pack(protocol.MAGIC, 13, 0) + b'{"blobs":[5]}',
        protocol.HEAD.pack(protocol.MAGIC, 2, 0) + b"{}" + b"more",
    ],
)
def test_garbage_gets_an_error_and_is_closed(shared_runtime: RunningRuntime, garbage: bytes) -> None:
    with shared_runtime.client() as client, shared_runtime.client() as bystander:
        client.sock.sendall(garbage)
        received = read_frame(client.sock)
        assert received is not None
        assert received[0]["sqlstate"] == "08P01"
        assert client.sock.recv(1) == b""
        assert bystander.status()["ok"]


@pytest.mark.parametrize("header", [{}, {"do": "dance"}, {"do": "predict"}, {"do": ["predict"]}])
def test_a_request_without_sense_gets_an_error_and_the_connection_lives(
    shared_runtime: RunningRuntime, header: dict[str, object]
) -> None:
    with shared_runtime.client() as client:
        assert client.request(header)[0]["sqlstate"] == "08P01"
        assert client.status()["ok"]


def test_half_a_frame_holds_up_nobody(shared_runtime: RunningRuntime) -> None:
    with shared_runtime.client() as client, shared_runtime.client() as other:
        client.sock.sendall(struct.pack("!4sI", b"PGP1", 100))
        assert other.status()["ok"]
        client.sock.shutdown(socket.SHUT_WR)
        received = read_frame(client.sock)
        assert received is not None
        assert "closed after 8 bytes" in received[0]["message"]


def test_a_caller_that_hangs_up_ends_its_prediction(
    shared_runtime: RunningRuntime, database: Database
) -> None:
    request = store(database, graphs.endless())

    def in_use() -> int:
        models = {model["artifact"]: model for model in shared_runtime.status()["models"]}
        count: int = models.get(request["artifact"], {}).get("in_use", 0)
        return count

    with shared_runtime.client() as client:
        for piece in protocol.encode({**request, "features": {"x": 1}}):
            client.sock.sendall(piece)
        eventually(lambda: in_use() == 1)
        time.sleep(0.2)
        assert in_use() == 1
    eventually(lambda: in_use() == 0)


def test_a_deployment_is_loaded_before_its_first_use(
    shared_runtime: RunningRuntime, database: Database
) -> None:
    first = {**store(database, graphs.linear((3,))), "features": {"a": 1}}
    with shared_runtime.client() as client:
        assert client.request(first)[0]["ok"]
    with database.connect() as connection:
        listening = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgpredict runtime'"
            # idle: it hears from the end of LISTEN on
            " AND datname = current_database() AND query ~ 'LISTEN|pg_locks' AND state = 'idle'"
        )
        eventually(lambda: fetch_value(connection, listening))
        for event in (
            "no json",
            "[]",
            '{"event":"deploy","artifact":5}',
            '{"event":"deploy","artifact":"x"}',
        ):
            connection.execute("SELECT pg_notify('pgpredict', %s)", [event])
        for number, event in enumerate(("deploy", "rollback")):
            artifact = store(database, graphs.linear((4, number)))["artifact"]
            payload = json.dumps({"event": event, "artifact": artifact})
            connection.execute("SELECT pg_notify('pgpredict', %s)", [payload])
            eventually(lambda artifact=artifact: loaded(shared_runtime, artifact))  # type: ignore[misc]


def test_the_listener_comes_back_after_the_server_has_gone(
    shared_runtime: RunningRuntime, database: Database
) -> None:
    first = {**store(database, graphs.linear((5,))), "features": {"a": 1}}
    with shared_runtime.client() as client:
        assert client.request(first)[0]["ok"]
    mine = "application_name = 'pgpredict runtime' AND datname = current_database()"
    with database.connect() as connection:
        count = f"SELECT count(*) FROM pg_stat_activity WHERE {mine}"
        eventually(lambda: fetch_value(connection, count))
        connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
        artifact = store(database, graphs.linear((6, 1)))["artifact"]
        payload = json.dumps({"event": "deploy", "artifact": artifact})

        def hears() -> bool:
            connection.execute("SELECT pg_notify('pgpredict', %s)", [payload])
            return loaded(shared_runtime, artifact)

        eventually(hears)


def test_whoever_wants_a_database_alone_gets_it(shared_runtime: RunningRuntime, database: Database) -> None:
    request = {**store(database, graphs.linear((11,))), "features": {"a": 1}}
    listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgpredict runtime'"
    copied, renamed = f"{database.name}_copied", f"{database.name}_renamed"
    statements = (
        f"CREATE DATABASE {copied} TEMPLATE {database.name}",
        f"ALTER DATABASE {database.name} RENAME TO {renamed}",
        f"DROP DATABASE {renamed}",
    )
    with database.server.admin() as admin, shared_runtime.client() as client:
        try:
            for statement, name in zip(statements, (database.name, database.name, renamed), strict=True):
                assert client.request(request)[0]["ok"]
                eventually(lambda name=name: fetch_value(admin, f"{listening} AND datname = '{name}'"))  # type: ignore[misc]
                admin.execute(statement)
        finally:
            for name in (copied, renamed):
                admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def test_a_database_may_be_dropped_by_force_and_is_forgotten(
    shared_runtime: RunningRuntime, database: Database
) -> None:
    request = {**store(database, graphs.linear((9,))), "features": {"a": 1}}
    with shared_runtime.client() as client:
        assert client.request(request)[0]["ok"]
        database.drop()
        assert client.request(request)[0]["ok"]
        assert client.request({**request, "artifact": "3" * 64})[0]["sqlstate"] in ("3D000", "08001")


def test_databases_that_swap_their_names_are_told_apart(server: Server, database: Database) -> None:
    """As where a database is built beside the one in use and then takes its place."""
    first, second = f"{database.name}_one", f"{database.name}_two"
    with server.admin() as admin:
        try:
            for name in (first, second):
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            found = admin.execute(
                "SELECT datname, oid FROM pg_database WHERE datname IN (%s, %s)", [first, second]
            )
            oids: dict[str, int] = dict(found.fetchall())
            databases = Databases(server.dsn("postgres"))
            for name in (first, second):
                with databases.connect(oids[name]) as connection:
                    assert connection.info.dbname == name
            for old, new in ((first, f"{first}_old"), (second, first)):
                admin.execute(
                    sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
                )
            for old, new in ((first, f"{first}_old"), (second, first)):
                with databases.connect(oids[old]) as connection:
                    assert connection.info.dbname == new
        finally:
            for name in (first, second, f"{first}_old"):
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def test_memory_does_not_grow_with_rows(shared_runtime: RunningRuntime, database: Database) -> None:
    request, text = store(database, graphs.linear((1, 10))), batch(database, 20_000)
    worker = psutil.Process(shared_runtime.worker)
    with shared_runtime.client() as client:
        for _ in range(20):
            client.request(request, [text])
        before = worker.memory_info().rss
        for _ in range(200):
            client.request(request, [text])
    assert worker.memory_info().rss < before + (32 << 20)


def test_the_least_recently_used_model_leaves(server: Server, database: Database) -> None:
    with RunningRuntime(server.admin_dsn, "--memory", "2.5MB") as runtime, runtime.client() as client:
        requests = [store(database, graphs.linear((1, number))) for number in range(3)]
        for request in requests:
            assert client.request({**request, "features": {"a": 1, "b": 1}})[0]["ok"]
        assert [loaded(runtime, request["artifact"]) for request in requests] == [False, True, True]
        assert runtime.status()["evictions"] == 1


def alone(runtime: RunningRuntime) -> RuntimeClient | None:
    """Return a client if there is no other one."""
    client = runtime.client()
    with contextlib.suppress(NotRunning):
        if client.status()["connections"] == 1:
            return client
    client.close()
    return None


def test_more_connections_than_allowed_are_told(server: Server) -> None:
    with RunningRuntime(server.admin_dsn, "--connections", "3") as runtime, contextlib.ExitStack() as stack:
        # those that asked before whether it is there may not be forgotten yet
        first = stack.enter_context(eventually(lambda: alone(runtime)))
        # the supervisor's heartbeat has a place now and then: it may be the third that is refused
        answers = [stack.enter_context(runtime.client()).request({"do": "status"})[0] for _ in range(3)]
        assert answers[0]["ok"]
        assert "53300" in [answer.get("sqlstate") for answer in answers[1:]]
        assert first.status()["ok"]
        stack.close()
        assert eventually(lambda: runtime.status()["ok"], NotRunning)


def test_a_graph_that_asks_for_too_much_memory(server: Server, database: Database) -> None:
    with RunningRuntime(server.admin_dsn, "--address-space", "4GB") as runtime, runtime.client() as client:
        request = store(database, graphs.greedy())
        worker = runtime.worker
        assert client.request({**request, "features": {"x": 0}})[0]["ok"]
        answer, _ = client.request({**request, "features": {"x": 8}})
        assert (answer["ok"], answer["sqlstate"]) == (False, "53200")
        assert client.request({**request, "features": {"x": 0}})[0]["ok"]
        assert runtime.worker == worker


def test_artifacts_are_read_as_the_role_given(server: Server, database: Database) -> None:
    request = {**store(database, graphs.linear((1,))), "features": {"a": 1}}
    with (
        RunningRuntime(server.admin_dsn, "--role", "pgpredict_runtime") as runtime,
        runtime.client() as client,
    ):
        assert client.request(request)[0]["ok"]
        with database.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SET ROLE pgpredict_runtime; SELECT * FROM ml.model")
    with RunningRuntime(server.admin_dsn, "--role", "nobody_at_all") as runtime, runtime.client() as client:
        answer, _ = client.request(request)
        assert answer["sqlstate"] == "08001"
        assert "nobody_at_all" in answer["message"]


def test_batches_and_single_rows_at_once(shared_runtime: RunningRuntime, database: Database) -> None:
    request, text = store(database, graphs.linear((1, 10))), batch(database, 20_000)
    stop, failures = threading.Event(), []

    def load() -> None:
        with shared_runtime.client() as client:
            while not stop.is_set():
                if not client.request(request, [text])[0]["ok"]:
                    failures.append(1)

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        with shared_runtime.client() as client:
            for number in range(200):
                answer, _ = client.request({**request, "features": {"a": number, "b": 0}})
                assert answer == {"ok": True, "prediction": float(number)}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
