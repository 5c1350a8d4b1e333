"""The parts of the database's container that need no server; what it refuses is in tests/containers."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from docker.database.configuration import access_rules, memory, quote_name
from docker.database.errors import Refused
from docker.database.scram import fits, make_verifier
from docker.database.server import quote
from docker.database.settings import read_settings


def test_a_verifier_fits_its_password_only() -> None:
    verifier = make_verifier("wonder")
    assert fits(verifier, "wonder")
    assert not fits(verifier, "Wonder")
    assert make_verifier("wonder") != verifier
    for other in ("", "md5abc", "SCRAM-SHA-256$4096:!$x:y"):
        assert not fits(other, "wonder")


def test_a_verifier_is_as_libpq_makes_it() -> None:
    """Same form and lengths; that a server takes it, the containers' tests show."""
    ours = make_verifier("wonder")
    theirs = psycopg.pq.PGconn.connect(b"host=/nowhere").encrypt_password(b"wonder", b"me", b"scram-sha-256")
    assert fits(theirs.decode(), "wonder")
    assert [len(part) for part in ours.split("$")] == [len(part) for part in theirs.decode().split("$")]


def test_secrets_and_names(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("two words \n")
    settings = read_settings(
        {
            "PGDATA": "/data",
            "POSTGRES_USER": "",
            "POSTGRES_PASSWORD_FILE": str(tmp_path / "secret"),
            "POSTGRES_INITDB_ARGS": "--locale=C --wal-segsize='32'",
        }
    )
    assert (settings.user, settings.database, settings.password) == ("postgres", "postgres", "two words ")
    assert settings.initdb == ("--locale=C", "--wal-segsize=32")
    assert settings.runtime_password is None


@pytest.mark.parametrize(
    "words", ["--waldir=/wal", "-X /wal", "-kX/wal", "--wald /wal", "-D x", "--pgdata=x"]
)
def test_directories_of_initdb_are_refused(words: str) -> None:
    """What a first start that fails leaves there would be in the way of the next one."""
    with pytest.raises(Refused, match="POSTGRES_INITDB_ARGS names a directory"):
        read_settings({"POSTGRES_INITDB_ARGS": words})
    read_settings({"POSTGRES_INITDB_ARGS": "--wal-segsize=32 -k -E UTF8 --pwprompt"})


def test_quotes() -> None:
    assert quote("a'b\\c") == "'a''b\\\\c'"
    assert quote_name('a"b') == '"a""b"'
    assert "trust" not in access_rules("postgres")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 1000 << 10),
        ({"sys/fs/cgroup/memory.max": "max"}, 1000 << 10),
        ({"sys/fs/cgroup/memory.max": "4096"}, 4096),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "8192"}, 8192),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 1000 << 10),
    ],
)
def test_memory_is_the_containers(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    for name, text in {"proc/meminfo": "MemTotal:  1000 kB\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory(tmp_path) == expected
