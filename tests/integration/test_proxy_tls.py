"""TLS on both sides of the proxy, and every way in which a server lets clients in."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import make_conninfo

from pgpredict.proxy import frames
from pgpredict.proxy.startup import SSL_REQUEST
from pgpredict.server import Cluster
from tests.fix_proxy import RunningProxy, running_proxy
from tests.fix_runtime import eventually
from tests.fix_spare import DATABASE, PASSWORD, Certificates, make_certificates
from tests.killing import PATIENCE, canceling

GSS_REQUEST = struct.pack("!II", 8, 80_877_104)
IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def tls(certificates: Certificates) -> tuple[str, ...]:
    """Options that give a proxy a certificate."""
    directory = certificates.directory
    return ("--tls-cert", f"{directory / 'server.crt'}", "--tls-key", f"{directory / 'server.key'}")


def to(cluster: Cluster, sslmode: str, **further: Any) -> tuple[str, ...]:
    """Options that lead a proxy to a server over TCP."""
    return ("--server", make_conninfo(host="127.0.0.1", port=cluster.port, sslmode=sslmode, **further))


@pytest.fixture(scope="module")
def plain_server(spare: Cluster, certificates: Certificates) -> Iterator[RunningProxy]:
    """A proxy with a certificate, without TLS to the server."""
    with running_proxy(spare.tcp_dsn(), *to(spare, "disable"), *tls(certificates)) as proxy:
        yield proxy
        assert "event=defect" not in proxy.logged(), proxy.logged()


@pytest.fixture(scope="module")
def tls_server(spare: Cluster, certificates: Certificates) -> Iterator[RunningProxy]:
    """A proxy with a certificate and TLS to the server."""
    roots = {"sslrootcert": str(certificates.authority)}
    with running_proxy(spare.tcp_dsn(), *to(spare, "verify-full", **roots), *tls(certificates)) as proxy:
        yield proxy
        assert "event=defect" not in proxy.logged(), proxy.logged()


def connect(proxy: RunningProxy, user: str = "scram", **parameters: Any) -> psycopg.Connection[Any]:
    given = {"user": user, "password": PASSWORD, "dbname": DATABASE, "sslmode": "disable", **parameters}
    given = {name: value for name, value in given.items() if value is not None}
    return psycopg.connect(proxy.dsn("", tcp="host" not in parameters), autocommit=True, **given)


def is_encrypted(connection: psycopg.Connection[Any]) -> tuple[bool, bool]:
    """Whether the client's side is, and the server's."""
    row = connection.execute(IS_ENCRYPTED).fetchone()
    assert row is not None
    return bool(connection.pgconn.ssl_in_use), row[0]


# Clients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sslmode", SSLMODES)
def test_clients_choose(plain_server: RunningProxy, certificates: Certificates, sslmode: str) -> None:
    with connect(plain_server, sslmode=sslmode, sslrootcert=str(certificates.authority)) as connection:
        # TLS is there, so all but those who would rather not have it
        assert is_encrypted(connection) == (sslmode not in ("disable", "allow"), False)
        assert connection.execute("SELECT repeat('x', 3000000)").fetchone() == ("x" * 3_000_000,)


def test_clients_check_who_we_are(
    plain_server: RunningProxy, certificates: Certificates, tmp_path: Path
) -> None:
    roots = {"sslrootcert": str(certificates.authority)}
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        connect(plain_server, sslmode="verify-full", host="elsewhere", hostaddr="127.0.0.1", **roots)
    with connect(
        plain_server, sslmode="verify-ca", host="elsewhere", hostaddr="127.0.0.1", **roots
    ) as connection:
        assert connection.pgconn.ssl_in_use
    others = make_certificates(tmp_path)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        connect(plain_server, sslmode="verify-ca", sslrootcert=str(others.authority))


def test_a_proxy_without_a_certificate_says_no_like_a_server(spare: Cluster) -> None:
    with running_proxy(spare.tcp_dsn(), *to(spare, "disable")) as proxy:
        with connect(proxy, sslmode="prefer", gssencmode="prefer") as connection:
            assert is_encrypted(connection) == (False, False)
        with pytest.raises(psycopg.OperationalError, match="server does not support SSL"):
            connect(proxy, sslmode="require")
        # and a proxy in front of it sees a server without TLS
        behind = f"host=127.0.0.1 port={proxy.port}"
        for mode, said in (("prefer", ""), ("require", "does not support TLS")):
            with running_proxy(behind, "--server", f"{behind} sslmode={mode}") as front:
                if not said:
                    connect(front).close()
                else:
                    with pytest.raises(psycopg.OperationalError, match=said):
                        connect(front)


def raw(proxy: RunningProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE)


def error_of(data: bytes) -> dict[str, str]:
    kind, body = next(frames.messages(data))
    assert kind == ord("E"), data[:50]
    return frames.error_fields(body)


def test_what_was_sent_before_the_encryption_never_counts(plain_server: RunningProxy) -> None:
    startup = b"user\0scram\0database\0spare\0\0"
    smuggled = struct.pack("!II", 8 + len(startup), 0x30000) + startup
    with raw(plain_server) as sock:
        sock.sendall(SSL_REQUEST + smuggled)
        error = error_of(sock.recv(1000))
    assert error["C"] == "08P01"
    assert "unencrypted data after SSL request" in error["M"]


def test_encryption_by_gss_is_refused_and_by_tls_may_follow_once(plain_server: RunningProxy) -> None:
    with raw(plain_server) as sock:
        sock.sendall(GSS_REQUEST)
        assert sock.recv(1) == b"N"
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
    with raw(plain_server) as sock:
        sock.sendall(GSS_REQUEST)
        assert sock.recv(1) == b"N"
        sock.sendall(GSS_REQUEST)
        assert error_of(sock.recv(1000))["C"] == "08P01"


def client_context(certificates: Certificates, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.authority))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def test_direct_tls(plain_server: RunningProxy, certificates: Certificates) -> None:
    context = client_context(certificates, "postgresql")
    with raw(plain_server) as sock, context.wrap_socket(sock, server_hostname="localhost") as secured:
        secured.sendall(struct.pack("!II", 8 + 12, 0x30000) + b"user\0scram\0\0")
        assert secured.recv(1) == b"R"  # asks for a password
    for protocols in ((), ("http/1.1",)):
        context = client_context(certificates, *protocols)
        with raw(plain_server) as sock, context.wrap_socket(sock, server_hostname="localhost") as secured:
            assert "without ALPN" in error_of(secured.recv(1000))["M"]
    if pq.version() >= 170000:
        for mode in ("require", "verify-full"):
            roots = {"sslrootcert": str(certificates.authority)} if mode == "verify-full" else {}
            with connect(plain_server, sslmode=mode, sslnegotiation="direct", **roots) as connection:
                assert is_encrypted(connection) == (True, False)


def test_a_cancel_over_tls(spare: Cluster, plain_server: RunningProxy) -> None:
    with (
        connect(plain_server, sslmode="require") as connection,
        canceling(connection, spare.dsn(DATABASE)),
        pytest.raises(psycopg.errors.QueryCanceled),
    ):
        connection.execute("SELECT pg_sleep(120)")


def test_certificates_of_clients_and_tls_that_is_required(
    spare: Cluster, certificates: Certificates, tmp_path: Path
) -> None:
    mine = {
        "sslcert": str(certificates.directory / "certified.crt"),
        "sslkey": str(certificates.directory / "certified.key"),
        "sslmode": "require",
    }
    nobodys = {"sslcert": "none", "sslkey": "none", "sslmode": "require"}
    forged = {name: value.replace(str(certificates.directory), str(tmp_path)) for name, value in mine.items()}
    # over its socket the server trusts the proxy, so that only the certificates keep others out
    options = (*tls(certificates), "--tls-required", "--client-ca", str(certificates.authority))
    with running_proxy(spare.dsn(), *options) as proxy:
        with connect(proxy, "certified", password=None, **mine) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("certified",)
        with pytest.raises(psycopg.OperationalError, match="takes no connection without TLS"):
            connect(proxy, "certified", sslmode="disable")
        with pytest.raises(psycopg.OperationalError, match="no certificate was sent"):
            connect(proxy, "certified", **nobodys)
        with pytest.raises(psycopg.OperationalError, match="certificate authentication failed for user"):
            connect(proxy, "trusted", **mine)
        make_certificates(tmp_path)
        with pytest.raises(psycopg.OperationalError):  # whether it hears why is a matter of time
            connect(proxy, "certified", **forged)
        eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in proxy.logged())


def test_certificates_are_read_again(spare: Cluster, certificates: Certificates, tmp_path: Path) -> None:
    others_directory, used = tmp_path / "others", tmp_path / "used"
    others_directory.mkdir()
    shutil.copytree(certificates.directory, used)
    others = make_certificates(others_directory)
    with running_proxy(spare.tcp_dsn(), *to(spare, "disable"), *tls(Certificates(used))) as proxy:
        before = {"sslmode": "verify-full", "sslrootcert": str(certificates.authority)}
        after = {"sslmode": "verify-full", "sslrootcert": str(others.authority)}
        with connect(proxy, **before) as lasting:
            (used / "server.key").write_text("no key")
            proxy.process.send_signal(signal.SIGHUP)
            eventually(lambda: "event=reload_failed" in proxy.logged())
            connect(proxy, **before).close()
            for name in ("server.crt", "server.key"):
                shutil.copy(others.directory / name, used / name)
            proxy.process.send_signal(signal.SIGHUP)
            eventually(lambda: "event=reloaded" in proxy.logged())
            connect(proxy, **after).close()
            with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
                connect(proxy, **before)
            assert lasting.execute("SELECT 1").fetchone() == (1,)


# The server ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sslmode", SSLMODES)
def test_the_proxy_chooses(spare: Cluster, certificates: Certificates, sslmode: str) -> None:
    roots = {"sslrootcert": str(certificates.authority)} if sslmode.startswith("verify") else {}
    with running_proxy(spare.tcp_dsn(), *to(spare, sslmode, **roots)) as proxy:
        with connect(proxy) as connection:
            assert is_encrypted(connection) == (False, sslmode not in ("disable", "allow"))
            assert connection.execute("SELECT repeat('x', 3000000)").fetchone() == ("x" * 3_000_000,)
        # each mode gets past rules about encryption where libpq would
        for user, modes in (("encrypted", SSLMODES[1:]), ("plain", SSLMODES[:3])):
            if sslmode in modes:
                with connect(proxy, user) as connection:
                    assert is_encrypted(connection) == (False, user == "encrypted")
            else:
                with pytest.raises(psycopg.OperationalError, match=r"no pg_hba.conf entry"):
                    connect(proxy, user)


def test_direct_tls_with_the_server(
    spare: Cluster, certificates: Certificates, plain_server: RunningProxy
) -> None:
    """A proxy is a server that offers it, whatever the age of the PostgreSQL behind it."""
    front = {"sslmode": "verify-full", "sslrootcert": str(certificates.authority), "sslnegotiation": "direct"}
    server = make_conninfo(host="localhost", hostaddr="127.0.0.1", port=plain_server.port, **front)
    with running_proxy(spare.tcp_dsn(), "--server", server) as proxy, connect(proxy) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("scram",)
        assert "tls=on" in plain_server.logged()


def test_the_proxy_checks_who_the_server_is(
    spare: Cluster, certificates: Certificates, tmp_path: Path
) -> None:
    others = make_certificates(tmp_path)
    cases: tuple[tuple[dict[str, str], str], ...] = (
        ({"sslmode": "verify-ca", "sslrootcert": str(others.authority)}, "certificate verify failed"),
        (
            {
                "sslmode": "verify-full",
                "sslrootcert": str(certificates.authority),
                "hostaddr": "127.0.0.1",
                "host": "elsewhere",
            },
            "Hostname mismatch",
        ),
    )
    for given, said in cases:
        options = {"host": "127.0.0.1", **given}
        with (
            running_proxy(
                spare.tcp_dsn(), "--server", make_conninfo("", port=spare.port, **options)
            ) as proxy,
            pytest.raises(psycopg.OperationalError, match=said),
        ):
            connect(proxy)


@pytest.mark.parametrize("client_mode", ["disable", "require"])
@pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
def test_scram_where_tls_ends_at_the_proxy(
    plain_server: RunningProxy, tls_server: RunningProxy, client_mode: str, binding: str
) -> None:
    for proxy, server_tls in ((plain_server, False), (tls_server, True)):
        parameters = {"sslmode": client_mode, "channel_binding": binding}
        if binding == "require":  # nobody can give that, and the client says so
            with pytest.raises(psycopg.OperationalError, match="channel binding"):
                connect(proxy, **parameters)
        elif server_tls and client_mode == "require" and binding == "prefer":
            with pytest.raises(psycopg.OperationalError, match="TLS ends at the proxy") as caught:
                connect(proxy, **parameters)
            assert "channel_binding=disable" in str(caught.value)
        else:
            with connect(proxy, **parameters) as connection:
                assert is_encrypted(connection) == (client_mode == "require", server_tls)


def test_passwords_of_every_sort(tls_server: RunningProxy) -> None:
    parameters = {"sslmode": "require", "channel_binding": "disable"}
    for user in ("hashed", "scram"):
        with connect(tls_server, user, **parameters) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (user,)
        for password, said in (("wrong", "password authentication failed"), (None, "no password supplied")):
            with pytest.raises(psycopg.OperationalError, match=said):
                connect(tls_server, user, password=password, **parameters)
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        connect(tls_server, dbname="nowhere", **parameters)


def test_the_proxy_s_certificate_is_nobody_else_s(spare: Cluster, certificates: Certificates) -> None:
    """The server knows the proxy by its certificate; that says nothing of who comes over TCP."""
    files = {name: str(certificates.directory / f"certified.{end}") for name, end in
             (("sslcert", "crt"), ("sslkey", "key"))}  # fmt: skip
    options = to(spare, "require", **files)
    with running_proxy(spare.tcp_dsn(), *options) as proxy:
        with pytest.raises(psycopg.OperationalError, match="asks for no password"):
            connect(proxy, "certified")
        with connect(proxy, "certified", host=str(proxy.directory), password=None) as connection:
            assert is_encrypted(connection) == (False, True)
        with pytest.raises(psycopg.OperationalError, match="certificate authentication failed"):
            connect(proxy, "certified_too", host=str(proxy.directory), password=None)
    with running_proxy(spare.tcp_dsn(), *options, "--trust-server") as proxy:
        connect(proxy, "certified", password=None).close()


def test_whom_the_server_trusts(spare: Cluster, plain_server: RunningProxy) -> None:
    """A client on this machine could have come in over TCP just as well, but not over the socket."""
    connect(plain_server, "trusted", password=None).close()
    with running_proxy(spare.dsn()) as proxy:
        with pytest.raises(psycopg.OperationalError, match="asks for no password"):
            connect(proxy, "trusted", password=None)
        connect(proxy, "trusted", password=None, host=str(proxy.directory)).close()
