"""``/health`` of the proxy: what it takes for well, and what it does to a server that is asked for ever."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest
from psycopg.conninfo import make_conninfo

from pgpredict.server import Cluster
from pgpredict.server.health import health
from tests.fix_proxy import free_port, running_proxy
from tests.fix_runtime import eventually
from tests.fix_spare import Certificates
from tests.integration.test_proxy_service import fetch, fetch_well
from tests.killing import PATIENCE

#: seconds; the promise is three, this machine may be busy
PROMISED = 15
#: a line of a session in a server's log, also of one that has no user yet
OF_A_SESSION = re.compile(r"\] \S+@\S+ LOG:")
#: a proxy whose loop is held up from SIGUSR1 until it is given a line
HELD_UP = """
import asyncio, signal, sys
from pgpredict.proxy import Proxy, make_settings
settings = make_settings({"listen": sys.argv[1], "http": sys.argv[2], "server": sys.argv[3]}, None)
proxy = Proxy(settings, lambda: settings)
def hold_up():
    print("held up", flush=True)
    sys.stdin.readline()
async def serve():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, hold_up)
    await proxy.run(ready=lambda: print("ready", flush=True))
asyncio.run(serve())
"""


@contextlib.contextmanager
def asked(cluster: Cluster, **parameters: str) -> Iterator[int]:
    """Run a proxy in front of a server, and yield the port of its health."""
    port = free_port()
    server = make_conninfo(host="127.0.0.1", port=cluster.port, **parameters)
    with running_proxy(cluster.tcp_dsn(), "--server", server, "--http", f"127.0.0.1:{port}"):
        yield port


def test_a_loop_that_is_held_up_is_not_well(spare: Cluster) -> None:
    listen, http = (f"127.0.0.1:{free_port()}" for _ in range(2))
    command = [sys.executable, "-c", HELD_UP, listen, http, f"host=127.0.0.1 port={spare.port}"]
    port = int(http.rpartition(":")[2])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            fetch_well(port)
            process.send_signal(signal.SIGUSR1)
            assert process.stdout.readline() == b"held up\n"
            status, told = fetch(port, "/health", PROMISED)
            assert (status, json.loads(told)["loop"]) == (503, "has not turned for 2 s")
            # as doctor puts it
            found = health("127.0.0.1", port)
            assert found is not None
            assert found.problem == "its event loop has not turned for 2 s"
            process.stdin.write(b"\n")
            process.stdin.flush()
            fetch_well(port)
        finally:
            process.stdin.close()
            process.terminate()
            process.wait(PATIENCE)


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
def test_a_frozen_server_is_not_well(spare: Cluster, sslmode: str) -> None:
    """Its kernel takes connections all the same."""
    pid = spare.pid()
    assert pid is not None
    with asked(spare, sslmode=sslmode) as port:
        fetch_well(port)
        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
            status, told = fetch(port, "/health", PROMISED)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert status == 503
        assert json.loads(told)["server"] == f"127.0.0.1:{spare.port}: timed out"
        fetch_well(port)


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "verify-full"])
def test_being_asked_leaves_no_line_in_the_servers_log(
    spare: Cluster, certificates: Certificates, sslmode: str
) -> None:
    roots = {"sslrootcert": str(certificates.authority)} if sslmode == "verify-full" else {}
    with asked(spare, sslmode=sslmode, **roots) as port:
        before = spare.log.stat().st_size
        for _ in range(5):
            assert fetch(port, "/health")[0] == 200
        # a server that has got a startup packet, and answered, has written its lines of before
        with spare.connect("postgres", autocommit=True) as connection:
            connection.execute("DO $$ BEGIN RAISE LOG 'asked enough'; END $$")
        eventually(lambda: b"asked enough" in spare.log.read_bytes()[before:])
        said = spare.log.read_bytes()[before:].decode()
    # others than sessions say what they like, such as that a checkpoint begins
    lines = [line for line in said.splitlines() if OF_A_SESSION.search(line)]
    assert [line for line in lines if "asked enough" not in line] == []
    assert lines


def test_a_certificate_that_clients_could_not_be_served_by_is_not_well(
    spare: Cluster, certificates: Certificates
) -> None:
    """It is for the name localhost, and for 127.0.0.1."""
    roots = {"sslrootcert": str(certificates.authority), "hostaddr": "127.0.0.1", "host": "elsewhere"}
    port = free_port()
    server = make_conninfo("", port=spare.port, sslmode="verify-full", **roots)
    with running_proxy(spare.tcp_dsn(), "--server", server, "--http", f"127.0.0.1:{port}"):
        status, told = fetch(port, "/health")
    assert status == 503
    assert "certificate" in json.loads(told)["server"]


@pytest.mark.parametrize(
    ("answer", "sslmode", "problem"),
    [
        (b"", "disable", "it ends the connection"),
        (b"EC08P01\0\0", "prefer", "it answers with an error"),
        (b"N", "require", "it does not support TLS"),
        (b"N", "prefer", ""),
        # it offers TLS and has none; libpq's prefer goes on without
        (b"Sxxxxxxxxxx", "prefer", ""),
        (b"Sxxxxxxxxxx", "require", "SSL"),
    ],
)
def test_what_a_server_answers(answer: bytes, sslmode: str, problem: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = f"host=127.0.0.1 port={listener.getsockname()[1]} sslmode={sslmode}"

        def serve() -> None:
            taken, _ = listener.accept()
            with taken:
                assert taken.recv(8) == b"\0\0\0\x08\x04\xd2\x16\x2f"
                taken.sendall(answer)

        port = free_port()
        with running_proxy("", "--server", server, "--http", f"127.0.0.1:{port}"):
            thread = threading.Thread(target=serve)
            thread.start()
            status, told = fetch(port, "/health")
            thread.join(PATIENCE)
    assert status == (503 if problem else 200), told
    assert problem in json.loads(told)["server"]
