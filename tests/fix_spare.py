"""A server that a test may stop, break and crowd, and certificates for it and for proxies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pgpredict.server import Cluster, ServerInstall
from pgpredict.server.account import acting_as
from pgpredict.server.database import make_database
from pgpredict.server.home import write_atomically
from pgpredict.server.runtime import start_runtime, stop_runtime
from tests.fix_server import temporary_home

DATABASE = "spare"
PASSWORD = "pass word"
#: roles by what the server asks them for; all may also use its socket
RULES = """\
local    all  all        trust
local    replication all trust
hostssl  all  certified,certified_too  127.0.0.1/32  cert
hostssl  all  encrypted  127.0.0.1/32  scram-sha-256
hostnossl all plain      127.0.0.1/32  scram-sha-256
host     all  trusted    127.0.0.1/32  trust
host     all  hashed     127.0.0.1/32  md5
host     all  scram      127.0.0.1/32  scram-sha-256
host     all  pgpredict  127.0.0.1/32  scram-sha-256
"""
ROLES = ("certified", "certified_too", "encrypted", "plain", "trusted", "hashed", "scram")
#: enough for a thousand idle sessions
SETTINGS = """
max_connections = 1100
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
ssl_ca_file = 'ca.crt'
client_connection_check_interval = 0
"""


@dataclass(frozen=True)
class Certificates:
    """Certificates of one authority, in one directory."""

    directory: Path

    @property
    def authority(self) -> Path:
        """The authority's own."""
        return self.directory / "ca.crt"

    def make(self, name: str, common_name: str, *extensions: str) -> tuple[Path, Path]:
        """Make a certificate and return it and its key.

        :param name: of the files
        """
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        command: list[str | Path] = ["openssl", "req", "-x509", "-nodes", "-days", "2"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-subj", f"/CN={common_name}", "-keyout", key, "-out", certificate]
        if name != "ca":
            command += ["-CA", self.authority, "-CAkey", self.directory / "ca.key"]
        for extension in extensions:
            command += ["-addext", extension]
        subprocess.run(command, check=True, capture_output=True)
        key.chmod(0o600)
        return certificate, key


def make_certificates(directory: Path) -> Certificates:
    """Make an authority, a certificate ``server`` for 127.0.0.1, and one for a role."""
    made = Certificates(directory)
    made.make("ca", "authority", "basicConstraints=critical,CA:TRUE")
    made.make("server", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    made.make("certified", "certified")
    return made


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of the authority that everybody trusts."""
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def spare(install: ServerInstall, certificates: Certificates) -> Iterator[Cluster]:
    """A server with TLS and a database ``spare`` with our extension."""
    with temporary_home() as home:
        cluster = Cluster(home, install, durable=False)
        cluster.prepare()
        cluster.initialise()
        for name in ("ca.crt", "server.crt", "server.key"):
            text = (certificates.directory / name).read_text()
            write_atomically(cluster.data / name, text, 0o600, cluster.account)
        write_atomically(cluster.data / "pg_hba.conf", RULES, 0o600, cluster.account)
        settings = SETTINGS if install.major >= 14 else SETTINGS.replace("client_connection", "# ")
        with acting_as(cluster.account), (cluster.data / "postgresql.conf").open("a") as file:
            file.write(settings)
        try:
            cluster.start()
            make_database(cluster, DATABASE)
            with cluster.connect(DATABASE, autocommit=True) as connection:
                _make_roles(connection)
            start_runtime(cluster)
            yield cluster
        finally:
            stop_runtime(cluster)
            cluster.stop()


def _make_roles(connection: psycopg.Connection) -> None:
    for role in ROLES:
        encryption = "md5" if role == "hashed" else "scram-sha-256"
        connection.execute(sql.SQL("SET password_encryption = {}").format(encryption))
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(role), PASSWORD))
