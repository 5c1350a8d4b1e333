"""``pgpredict install``: a database on a server that is not ours."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgpredict.errors import ServerError
from pgpredict.server import Cluster, Home, ServerInstall, foreign
from pgpredict.server.database import available_version
from pgpredict.server.library import source_directory
from pgpredict.server.shadow import extension_files
from tests.fix_server import Database


class ForeignCluster(Cluster):
    """A server that knows nothing of us: no packages of ours on its path, no extension files."""

    def environment(self, install: ServerInstall | None = None) -> dict[str, str]:
        environment = super().environment(install)
        path = environment["PYTHONPATH"].split(":")
        path[0] = str(self.home.path / "site")
        return {**environment, "PYTHONPATH": ":".join(path)}


@pytest.fixture
def foreign_cluster(local_home: Home, install: ServerInstall) -> Iterator[ForeignCluster]:
    (local_home.path / "site").mkdir()
    cluster = ForeignCluster(local_home, install, durable=False)
    cluster.start()
    for path in local_home.path.glob("server-*/**/extension/pgpredict*"):
        path.unlink()
    yield cluster
    cluster.stop()


def test_everything_is_installed(foreign_cluster: ForeignCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    site = foreign_cluster.home.path / "site"
    # the directory for local packages of that Python is the machine's: another one stands in for it
    monkeypatch.setattr(foreign, "site_directory", lambda server: site)
    with foreign_cluster.connect("postgres") as connection:
        result = foreign.install_into(connection, "/srv/models/runtime.sock")
    assert result.version == available_version()
    assert result.owner == foreign_cluster.account.name
    assert (site / "fdw/wrapper.py").exists()
    with foreign_cluster.connect("postgres", autocommit=True) as connection:
        options = connection.execute("SELECT srvoptions FROM pg_foreign_server").fetchall()
        assert "socket=/srv/models/runtime.sock" in options[0][0]
        # again: nothing to copy, another socket
        again = foreign.install_into(connection, "/srv/other.sock")
        options = connection.execute("SELECT srvoptions FROM pg_foreign_server").fetchall()
        assert not any("copied" in line for line in again.done)
        assert "socket=/srv/other.sock" in options[0][0]
        # after an upgrade: files of an older version, of the wrapper and of the extension, are replaced
        (site / "fdw/wrapper.py").write_text("# older\n")
        (site / "fdw/gone.py").write_text("# since removed\n")
        server = foreign.local_install(connection)
        assert server is not None
        control = server.sharedir / "extension/pgpredict.control"
        control.write_text(control.read_text() + "# older\n")
        upgraded = foreign.install_into(connection, "/srv/other.sock")
    assert sum("copied" in line for line in upgraded.done) == 2
    assert not (site / "fdw/gone.py").exists()
    assert "class ModelTable" in (site / "fdw/wrapper.py").read_text()
    assert control.read_text() == extension_files()["pgpredict.control"]


def test_the_server_reads_the_wrapper_whatever_the_umask(
    foreign_cluster: ForeignCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of root's, when pip has installed us under such a one, too."""
    site, source = foreign_cluster.home.path / "site", tmp_path / "installed"
    shutil.copytree(source_directory() / "fdw", source / "fdw")
    for path in (source / "fdw").rglob("*"):
        path.chmod(0o600 if path.is_file() else 0o700)
    monkeypatch.setattr(foreign, "source_directory", lambda: source)
    monkeypatch.setattr(foreign, "site_directory", lambda server: site)
    before = os.umask(0o077)
    try:
        with foreign_cluster.connect("postgres") as connection:
            foreign.install_into(connection)
            assert foreign.wrapper_is_importable(connection)
            # what an older version of us left is mended
            server = foreign.local_install(connection)
            assert foreign.wrapper_is_current(server, required=True)
            (site / "fdw").chmod(0o700)
            assert not foreign.wrapper_is_current(server, required=True)
            assert any("the wrapper" in line for line in foreign.install_into(connection).done)
    finally:
        os.umask(before)
    for path in (site / "fdw", *(site / "fdw").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o644 if path.is_file() else 0o755), path


def test_missing_wrapper_is_explained(
    foreign_cluster: ForeignCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "site_directory", lambda server: None)
    with (
        foreign_cluster.connect("postgres") as connection,
        pytest.raises(ServerError, match="'fdw'") as caught,
    ):
        foreign.install_into(connection)
    assert caught.value.hint is not None
    assert "PYTHONPATH" in caught.value.hint
    with foreign_cluster.connect("postgres") as connection:
        assert connection.execute("SELECT 1 FROM pg_foreign_server").fetchone() is None


def test_files_of_another_machine_are_explained(
    foreign_cluster: ForeignCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "local_install", lambda connection: None)
    with foreign_cluster.connect("postgres") as connection, pytest.raises(ServerError) as caught:
        foreign.install_into(connection)
    assert "cp " in (caught.value.hint or "")


def test_files_are_found_by_the_server(foreign_cluster: ForeignCluster) -> None:
    with foreign_cluster.connect("postgres", autocommit=True) as connection:
        server = foreign.local_install(connection)
        assert server is not None
        foreign.copy_extension(connection, server)
        assert foreign.offered_version(connection) == available_version()
    assert (server.sharedir / "extension/pgpredict.control").read_text() == extension_files()[
        "pgpredict.control"
    ]


def test_ordinary_user_is_refused(database: Database) -> None:
    role = database.role()
    with database.connect(user=role) as connection, pytest.raises(ServerError, match="not a superuser"):
        foreign.install_into(connection)


def test_server_that_has_everything(database: Database) -> None:
    with database.connect() as connection:
        assert foreign.wrapper_is_importable(connection)
        assert (
            connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'pgpredict_trial'").fetchone()
            is None
        )
