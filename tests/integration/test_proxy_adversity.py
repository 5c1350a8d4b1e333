"""The proxy on a bad network, before a server that dies, with clients that misbehave or come in crowds.

What is asked gets its right answer or a clear error, nothing hangs beyond the timeouts, no other session is
disturbed, and nothing stays behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from onnx_models import storing
from pgpredict.proxy import frames
from pgpredict.proxy.startup import SSL_REQUEST
from pgpredict.server import Cluster
from tests import graphs
from tests.fix_proxy import RunningProxy, running_proxy
from tests.fix_runtime import eventually
from tests.fix_spare import DATABASE, Certificates
from tests.killing import PATIENCE, canceling, waiting_backend
from tests.network import TwiceCanceling, network

PREDICT = "SELECT PREDICT(weight USING 2.0::float8 AS a)"
#: the full sizes are for machines of people
IN_CI = bool(os.environ.get("CI"))
MEGABYTES, CROWD = (256, 200) if IN_CI else (1024, 1000)


@pytest.fixture(scope="module", autouse=True)
def model(spare: Cluster) -> None:
    with spare.connect(DATABASE, autocommit=True) as connection:
        version = storing.register(connection, "weight", graphs.regression(["a"]), graphs.linear((10.0,)), {})
        storing.deploy(connection, "weight", version)
        connection.execute(
            "CREATE TABLE numbers AS SELECT i::float8 AS a FROM generate_series(1, 1000) AS g(i)"
        )
        connection.execute("GRANT SELECT ON models.weight, numbers TO trusted")


@pytest.fixture(scope="module")
def shared(spare: Cluster) -> Iterator[RunningProxy]:
    """A proxy that gives up soon what is left of a connection."""
    with running_proxy(spare.tcp_dsn(), "--linger-seconds", "1") as proxy:
        yield proxy
        assert "event=defect" not in proxy.logged(), proxy.logged()


@pytest.fixture
def bystander(shared: RunningProxy) -> Iterator[psycopg.Connection[Any]]:
    """A session that must not notice anything; neither may descriptors or threads stay behind."""
    process = psutil.Process(shared.process.pid)
    with connect(shared.port) as connection:
        assert connection.execute(PREDICT).fetchone() == (20.0,)
        before = process.num_fds()
        yield connection
        assert connection.execute(PREDICT).fetchone() == (20.0,)
        eventually(lambda: process.num_fds() <= before)


def connect(port: int, **parameters: Any) -> psycopg.Connection[Any]:
    """Connect over TCP as somebody whom the server trusts."""
    dsn = make_conninfo(host="127.0.0.1", port=port, user="trusted", dbname=DATABASE, sslmode="disable")
    return psycopg.connect(dsn, autocommit=True, **parameters)


def let_in(port: int) -> psycopg.Connection[Any]:
    """Connect where who is not let in soon is sent away, on a machine that may be busy."""
    return eventually(lambda: connect(port), psycopg.OperationalError)


def startup(**parameters: str) -> bytes:
    words = {"user": "trusted", "database": DATABASE, **parameters}
    body = b"".join(frames.cstring(word.encode()) for pair in words.items() for word in pair) + b"\0"
    return struct.pack("!II", 8 + len(body), 0x30000) + body


def raw(port: int, *said: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    sock.sendall(b"".join(said))
    return sock


def all_of(sock: socket.socket) -> list[tuple[int, bytes]]:
    """Return the messages that come until the connection ends."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1 << 16):
            data += piece
    return list(frames.messages(bytes(data)))


def errors_of(messages: list[tuple[int, bytes]]) -> list[str]:
    return [frames.error_fields(body)["C"] for kind, body in messages if kind == ord("E")]


def work(connection: psycopg.Connection[Any]) -> list[Any]:
    """Do something of every sort, and return what came of it."""
    found: list[Any] = [connection.execute(PREDICT).fetchall()]
    found.append(connection.execute("SELECT PREDICT(weight USING %s::float8 AS a)", (3,)).fetchall())
    found.append(connection.execute("SELECT sum(PREDICT(weight)) FROM numbers").fetchall())
    found.append(connection.execute("SELECT a, repeat('x', 20) FROM numbers ORDER BY a").fetchall())
    for statement in ("SELECT PREDICT(weight), nothing FROM numbers", "SELECT 1 / 0", "SELECT PREDICT("):
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement)
        if isinstance(caught.value, psycopg.OperationalError):
            raise caught.value
        found.append((caught.value.sqlstate, caught.value.diag.statement_position))
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s + 1", (number,)) for number in range(3)]
        cursors.append(connection.execute(PREDICT))
    found.append([cursor.fetchall() for cursor in cursors])
    connection.execute("CREATE TEMPORARY TABLE t (a float8)")
    with connection.cursor() as cursor:
        with cursor.copy("COPY t FROM STDIN") as copy:
            for number in range(20):
                copy.write_row((number,))
        with cursor.copy("COPY (SELECT PREDICT(weight) FROM t ORDER BY a) TO STDOUT") as copy:
            found.append(b"".join(copy))
    return found


# Networks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_bytes_may_come_in_any_pieces(spare: Cluster, shared: RunningProxy, piece: int) -> None:
    with connect(shared.port) as connection:
        expected = work(connection)
    with network(spare.port) as far, running_proxy(f"host=127.0.0.1 port={far.port}") as proxy:
        with network(proxy.port) as near:
            near.piece = far.piece = piece
            with connect(near.port) as connection:
                assert work(connection) == expected
        assert "event=defect" not in proxy.logged()


def test_a_cancel_that_comes_twice_ends_one_statement(spare: Cluster) -> None:
    """What has our words waits until the request for the statement before it is over."""
    with network(spare.port, TwiceCanceling) as far:
        server = f"host=127.0.0.1 port={far.port}"
        with (
            running_proxy(server, "--server", f"{server} sslmode=disable") as proxy,
            connect(proxy.port) as connection,
        ):
            for number in range(3):
                with canceling(connection, spare.dsn(DATABASE)):
                    with pytest.raises(psycopg.errors.QueryCanceled):
                        connection.execute("SELECT pg_sleep(120)")
                    row = connection.execute(f"{PREDICT}, {number} FROM pg_sleep(0.7)").fetchone()
                    assert row == (20.0, number)


def test_a_network_that_is_slow(shared: RunningProxy, bystander: psycopg.Connection[Any]) -> None:
    with network(shared.port) as near:
        near.delay = 0.01
        with connect(near.port) as connection:
            assert len(work(connection)) == 9
    assert bystander.info.status.name == "OK"


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_cut_at_any_byte_is_an_error_of_that_session_only(
    spare: Cluster, shared: RunningProxy, bystander: psycopg.Connection[Any], side: str
) -> None:
    def outcome(port: int) -> str:
        try:
            with connect(port) as connection:
                work(connection)
        except psycopg.OperationalError:
            return "error"
        return "done"

    limits = [1, 8, 9, *range(50, 1200, 125), *range(3000, 30_000, 9000), 1 << 30]
    if side == "client":
        with network(shared.port) as near:
            for near.limit in limits:
                found = outcome(near.port)
                assert found == ("done" if near.limit == 1 << 30 else "error"), near.limit
        return
    with (
        network(spare.port) as far,
        running_proxy(f"host=127.0.0.1 port={far.port}", "--linger-seconds", "1") as proxy,
    ):
        process = psutil.Process(proxy.process.pid)
        connect(proxy.port).close()  # libuv keeps a descriptor in reserve from then on
        before = process.num_fds()
        for far.limit in limits:
            assert outcome(proxy.port) == ("done" if far.limit == 1 << 30 else "error"), far.limit
        eventually(lambda: process.num_fds() <= before)
        assert "event=defect" not in proxy.logged(), proxy.logged()
    assert bystander.info.status.name == "OK"


def test_a_network_that_stalls(spare: Cluster) -> None:
    options = ("--login-seconds", "5", "--linger-seconds", "1")
    with (
        network(spare.port) as far,
        running_proxy(f"host=127.0.0.1 port={far.port} sslmode=prefer", *options) as proxy,
        network(proxy.port) as near,
    ):
        process = psutil.Process(proxy.process.pid)
        let_in(proxy.port).close()
        before = process.num_fds()
        with let_in(near.port) as connection:
            for stalled in (near, far):
                timer = threading.Timer(0.5, stalled.flow)
                stalled.stall()
                timer.start()
                assert connection.execute(PREDICT).fetchone() == (20.0,)
                timer.join()
            # a server that accepts and says nothing
            far.stall()
            with pytest.raises(psycopg.OperationalError, match="no session after"):
                connect(proxy.port, connect_timeout=60)
            far.flow()
            # a client that ends while the server does not take what was sent
            with raw(proxy.port, startup()) as sock:
                assert sock.recv(1) == b"R"
                far.stall()
                sock.sendall(frames.query(b"SELECT 1"))
        far.stall()
        eventually(lambda: process.num_fds() <= before)
        far.flow()
        let_in(proxy.port).close()


# Memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [False, True])
def test_a_reader_that_stalls_does_not_fill_our_memory(shared: RunningProxy, ours: bool) -> None:
    process = psutil.Process(shared.process.pid)
    value = "PREDICT(weight USING i::float8 AS a)" if ours else "i::float8"
    sql = f"SELECT repeat('x', 10000), {value} FROM generate_series(1, {MEGABYTES * 100}) AS g(i)"
    with raw(shared.port, startup(), frames.query(sql.encode())) as sock:
        before = process.memory_info().rss
        time.sleep(1.5)  # the server has sent what the buffers take
        received, largest = 0, process.memory_info().rss
        buffer = bytearray(1 << 20)
        tail = b""
        while not tail.endswith(b"Z\0\0\0\5I") or received < MEGABYTES * 1_000_000:
            count = sock.recv_into(buffer)
            assert count, "the connection ended"
            if received >> 26 != (received + count) >> 26:
                largest = max(largest, process.memory_info().rss)
            received += count
            tail = (tail + buffer[:count])[-6:] if count < 6 else bytes(buffer[count - 6 : count])
        assert received > MEGABYTES * 1_000_000
    assert largest - before < 64 << 20, f"{(largest - before) >> 20} MB"


def test_a_sender_before_a_statement_that_waits_does_not_fill_our_memory(
    spare: Cluster, shared: RunningProxy, bystander: psycopg.Connection[Any]
) -> None:
    process = psutil.Process(shared.process.pid)
    plain = frames.query(b"SELECT 1 -- " + b"x" * 10_000)
    with spare.connect(DATABASE) as blocking:
        blocking.execute("LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
        with raw(shared.port, startup(), frames.query(b"SELECT sum(PREDICT(weight)) FROM numbers")) as sock:
            before = process.memory_info().rss
            sock.settimeout(1)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 80 << 20:
                    sent += sock.send(plain)
            assert sent < 40 << 20
            assert process.memory_info().rss - before < 16 << 20


def test_sessions_that_wait_for_a_lock_hold_up_nobody(
    spare: Cluster, shared: RunningProxy, bystander: psycopg.Connection[Any]
) -> None:
    waiting = 40
    with contextlib.ExitStack() as stack:
        with spare.connect(DATABASE) as blocking:
            blocking.execute("LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
            asked = [startup(), frames.query(b"SELECT sum(PREDICT(weight)) FROM numbers"), frames.TERMINATE]
            socks = [stack.enter_context(raw(shared.port, *asked)) for _ in range(waiting)]
            blocked = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
            with spare.connect("postgres", autocommit=True) as watcher:
                eventually(lambda: watcher.execute(blocked).fetchone() == (waiting,))
                predict = "SELECT PREDICT(weight USING 3.0::float8 AS a)"
                assert bystander.execute(predict).fetchone() == (30.0,)
                assert watcher.execute(blocked).fetchone() == (waiting,)
        for sock in socks:
            rows = [frames.row(body) for kind, body in all_of(sock) if kind == ord("D")]
            assert rows == [[b"5005000"]]


def test_a_crowd_of_idle_sessions(spare: Cluster) -> None:
    with running_proxy(spare.tcp_dsn()) as proxy, contextlib.ExitStack() as stack:
        process = psutil.Process(proxy.process.pid)
        connect(proxy.port).close()
        before = process.memory_info().rss
        socks = [stack.enter_context(raw(proxy.port, startup())) for _ in range(CROWD)]
        for sock in socks:
            answer = b""
            while not answer.endswith(b"Z\0\0\0\5I"):
                answer += sock.recv(4096)
        each = (process.memory_info().rss - before) / CROWD
        assert each <= 100_000, f"{each:.0f} bytes each"
        if CROWD == 1000:
            with pytest.raises(psycopg.OperationalError, match="the proxy takes 1000"):
                connect(proxy.port)


# Ends ---------------------------------------------------------------------------------------------------


def backends(cluster: Cluster) -> int:
    with cluster.connect("postgres", autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'trusted'").fetchone()
    assert row is not None
    return int(row[0])


def test_a_client_that_dies_in_the_middle_of_a_result(
    spare: Cluster, shared: RunningProxy, bystander: psycopg.Connection[Any]
) -> None:
    sql = b"SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"
    for ending in (struct.pack("ii", 1, 0), None):
        with raw(shared.port, startup(), frames.query(sql)) as sock:
            sock.recv(200_000)
            if ending:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ending)
    eventually(lambda: backends(spare) == 1)
    assert bystander.info.status.name == "OK"


def in_background(do: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(do())
        except psycopg.Error as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


@pytest.mark.parametrize("moment", ["statement", "rewriting"])
@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_a_server_that_dies(spare: Cluster, moment: str, ending: str) -> None:
    with running_proxy(spare.tcp_dsn(), "--linger-seconds", "1") as proxy:
        process = psutil.Process(proxy.process.pid)
        connect(proxy.port).close()
        before = process.num_fds()
        connection = connect(proxy.port)
        pid = connection.info.backend_pid
        with contextlib.suppress(psycopg.Error), spare.connect(DATABASE) as blocking:
            blocking.execute("LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
            sql = (
                "SELECT pg_sleep(200)"
                if moment == "statement"
                else "SELECT sum(PREDICT(weight)) FROM numbers"
            )
            thread, found = in_background(lambda: connection.execute(sql))
            waiting_backend(spare.dsn(DATABASE), "PgSleep" if moment == "statement" else "Lock")
            if ending == "kill":
                os.kill(pid, signal.SIGKILL)
            else:
                spare.stop()
            thread.join(PATIENCE)
        assert not thread.is_alive()
        assert isinstance(found[0], psycopg.OperationalError), found
        connection.close()
        if ending == "stop":
            with pytest.raises(psycopg.OperationalError, match="cannot connect to the server") as caught:
                connect(proxy.port)
            assert "is it running?" in str(caught.value)
            eventually(lambda: process.num_fds() <= before)
            port = spare.port if spare.pid() else None
            spare.start()
            assert port in (None, spare.port)
        if spare.port == int(spare_port(proxy)):
            with eventually(lambda: connect(proxy.port), psycopg.OperationalError) as again:
                assert again.execute(PREDICT).fetchone() == (20.0,)
        assert proxy.process.poll() is None
        assert "event=defect" not in proxy.logged(), proxy.logged()


def spare_port(proxy: RunningProxy) -> str:
    return proxy.logged().split("event=listening")[1].split("server=127.0.0.1:")[1].split()[0]


@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_a_client_that_says_all_at_once_and_then_only_listens(spare: Cluster, sslmode: str) -> None:
    server = make_conninfo(host="127.0.0.1", port=spare.port, sslmode=sslmode)
    with running_proxy(spare.tcp_dsn(), "--server", server, "--linger-seconds", f"{PATIENCE}") as proxy:
        for statements in (
            [b"SELECT 'done', pg_sleep(0.5)"],
            [PREDICT.encode()],
            [PREDICT.encode(), b"SELECT repeat('x', 3000000)", PREDICT.encode()],
        ):
            with raw(proxy.port, startup(), *map(frames.query, statements)) as sock:
                sock.shutdown(socket.SHUT_WR)
                messages = all_of(sock)
            kinds = [kind for kind, _ in messages]
            assert kinds.count(ord("D")) == len(statements), messages[-3:]
            assert kinds.count(ord("Z")) == len(statements) + 1
        # in the middle of a message there is nothing to wait for
        with raw(proxy.port, startup(), frames.query(b"SELECT 1")[:-3]) as sock:
            sock.shutdown(socket.SHUT_WR)
            started = time.monotonic()
            assert not errors_of(all_of(sock))
            assert time.monotonic() - started < PATIENCE / 2
        eventually(lambda: backends(spare) == 0)


# Clients that misbehave ---------------------------------------------------------------------------------


def test_clients_that_take_their_time(spare: Cluster, certificates: Certificates) -> None:
    directory = certificates.directory
    options = ("--tls-cert", f"{directory / 'server.crt'}", "--tls-key", f"{directory / 'server.key'}")
    with running_proxy(spare.tcp_dsn(), "--login-seconds", "5", "--linger-seconds", "1", *options) as proxy:
        process = psutil.Process(proxy.process.pid)
        with let_in(proxy.port) as connection:
            before = process.num_fds()
            scram = startup(user="scram")
            beginnings = {
                b"": None,
                startup()[:3]: "08P01",
                startup()[:-1]: "08P01",
                scram: "08006",
                SSL_REQUEST: None,
                b"\x16\x03\x01": None,
            }
            socks = [(raw(proxy.port, beginning), beginning) for beginning in beginnings for _ in range(5)]
            assert connection.execute(PREDICT).fetchone() == (20.0,)
            for sock, beginning in socks:
                # until it is let go
                messages = all_of(sock)
                if (sqlstate := beginnings[beginning]) is not None:
                    assert errors_of(messages) == [sqlstate]
                sock.close()
            eventually(lambda: process.num_fds() <= before)


@pytest.mark.parametrize("version", [0x30000, 0x30002, 0x3270F])
def test_newer_protocols_are_the_server_s_matter(spare: Cluster, shared: RunningProxy, version: int) -> None:
    """It says what it does not know, 3.9999 and options among it, in the same words."""
    asked = startup(**{"_pq_.unheard_of": "1"} if version > 0x30000 else {})
    asked = asked[:4] + struct.pack("!I", version) + asked[8:]
    answers = []
    for port in (spare.port, shared.port):
        with raw(port, asked, frames.query(b"SELECT 1"), frames.TERMINATE) as sock:
            messages = all_of(sock)
        answers.append([(kind, body) for kind, body in messages if kind != ord("K")])
    assert answers[0] == answers[1]
    assert [kind for kind, _ in answers[1]].count(ord("v")) == (version > 0x30000)


def test_a_storm_of_connections(spare: Cluster) -> None:
    limit, storm = 10, 200
    eventually(lambda: backends(spare) == 0)
    with running_proxy(spare.tcp_dsn(), "--connections", str(limit)) as proxy:
        outcomes: list[str] = []
        most = 0

        def come() -> None:
            try:
                connection = connect(proxy.port)
            except psycopg.OperationalError as error:
                outcomes.append("too many" if "too many clients" in str(error) else "closed")
            else:
                outcomes.append("in")
                leave.wait(2 * PATIENCE)
                connection.close()

        leave = threading.Event()
        threads = [threading.Thread(target=come) for _ in range(storm)]
        for thread in threads:
            thread.start()
        while len(outcomes) < storm:
            most = max(most, backends(spare))
        assert most <= limit
        assert outcomes.count("in") == limit
        assert outcomes.count("too many") >= 1
        leave.set()
        for thread in threads:
            thread.join()
        with eventually(lambda: connect(proxy.port), psycopg.OperationalError) as connection:
            assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_no_file_descriptors_left(spare: Cluster) -> None:
    with running_proxy(spare.tcp_dsn(), "--linger-seconds", "1") as proxy:
        process = psutil.Process(proxy.process.pid)
        with connect(proxy.port) as connection:
            few = process.num_fds() + 7
            process.rlimit(psutil.RLIMIT_NOFILE, (few, few))
            socks = [raw(proxy.port, startup()) for _ in range(12)]
            time.sleep(0.5)
            assert connection.execute(PREDICT).fetchone() == (20.0,)
            for sock in socks:
                sock.close()
            with eventually(lambda: connect(proxy.port), psycopg.OperationalError) as again:
                assert again.execute(PREDICT).fetchone() == (20.0,)
        assert "event=defect" not in proxy.logged(), proxy.logged()


def test_shutdown_with_a_session_that_never_ends(spare: Cluster) -> None:
    with running_proxy(spare.tcp_dsn(), "--drain-seconds", "1") as proxy:
        with connect(proxy.port) as connection, spare.connect(DATABASE) as blocking:
            blocking.execute("LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
            with connect(proxy.port) as rewriting:
                thread, found = in_background(lambda: connection.execute("SELECT pg_sleep(200)"))
                other, found_there = in_background(
                    lambda: rewriting.execute("SELECT sum(PREDICT(weight)) FROM numbers")
                )
                waiting_backend(spare.dsn(DATABASE), "PgSleep")
                waiting_backend(spare.dsn(DATABASE), "Lock")
                started = time.monotonic()
                for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
                    proxy.process.send_signal(number)
                # neither of the two would end by then
                assert proxy.process.wait(PATIENCE) == 0
                assert time.monotonic() - started < 60
                for each in (thread, other):
                    each.join(PATIENCE)
        assert isinstance(found[0], psycopg.OperationalError)
        assert isinstance(found_there[0], psycopg.OperationalError)


def test_an_answer_that_is_read_late_is_not_lost_by_a_shutdown(spare: Cluster) -> None:
    with (
        running_proxy(spare.tcp_dsn(), "--drain-seconds", f"{PATIENCE}") as proxy,
        raw(proxy.port, startup(), frames.query(b"SELECT repeat('x', 8000000)")) as sock,
    ):
        eventually(lambda: len(sock.recv(1 << 16, socket.MSG_PEEK)) > 10_000)
        proxy.process.send_signal(signal.SIGTERM)
        time.sleep(0.7)
        messages = all_of(sock)
        assert [len(body) for kind, body in messages if kind == ord("D")] == [8_000_006]
        assert errors_of(messages) == ["57P01"]
        assert proxy.process.wait(PATIENCE / 2) == 0


def test_statements_in_the_middle_of_a_copy(
    spare: Cluster, shared: RunningProxy, bystander: psycopg.Connection[Any]
) -> None:
    """A PREDICT there is answered as the server answers whatever does not belong there."""

    def answers(port: int, statement: bytes) -> tuple[list[str], list[list[bytes | None]]]:
        begin = b"CREATE TEMPORARY TABLE t (a float8); COPY t FROM STDIN"
        with raw(port, startup(), frames.query(begin)) as sock:
            said = b""
            while b"G\0\0\0" not in said:
                said += sock.recv(1000)
            row = frames.frame(b"d", b"1\n")
            sock.sendall(row + frames.query(statement) * 2 + frames.TERMINATE)
            messages = all_of(sock)
        return errors_of(messages), [frames.row(body) for kind, body in messages if kind == ord("D")]

    expected = answers(spare.port, b"SELECT 20::float8")
    assert expected[0]
    assert answers(shared.port, PREDICT.encode()) == expected
    assert bystander.info.status.name == "OK"
