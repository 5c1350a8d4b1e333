"""PostgreSQL's JDBC driver through the proxy, and what tools ask it about a database."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.fix_clients import EXPECTED, INSTALLED, PROGRAMS, Address, Place, found, told

JARS = (Path("/usr/share/java/postgresql.jar"), INSTALLED / "debian/usr/share/java/postgresql.jar")


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words that run a compiled program."""
    jar = next((str(path) for path in JARS if path.exists()), None)
    if jar is None:
        pytest.skip("no JDBC driver here: scripts/clients could not get libpostgresql-jdbc-java")
    classes = tmp_path_factory.mktemp("classes")
    sources = [str(PROGRAMS / name) for name in ("Client.java", "Metadata.java")]
    command = [found("javac"), "-Xlint:all", "-cp", jar, "-d", str(classes), *sources]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    # start quickly: the programs are short
    return [found("java"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{classes}:{jar}"]


def url(address: Address, **options: str) -> str:
    given = {"user": address.user, "password": address.password, **options}
    return f"jdbc:postgresql://{address.host}:{address.port}/{address.dbname}?{urlencode(given)}"


@pytest.mark.one_server
@pytest.mark.parametrize(
    "options",
    [
        {"preferQueryMode": "simple"},
        {"preferQueryMode": "extended"},
        {"preferQueryMode": "extendedCacheEverything", "autosave": "always"},
        # prepared by name from the first execution on, and then in the binary format
        {"prepareThreshold": "1"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_jdbc(java: list[str], place: Place, options: dict[str, str]) -> None:
    expected = dict(EXPECTED)
    if options.get("autosave"):  # the driver returns to a savepoint of its own before each statement
        expected |= {"failed": None}
    assert told([*java, "Client", url(place.through, **options)], place.through) == expected


def test_what_tools_ask_at_connect(java: list[str], place: Place) -> None:
    with place.direct.connect() as connection:
        connection.execute("CREATE TABLE customers (id int PRIMARY KEY, a float8 NOT NULL, name varchar(20))")
        connection.execute(
            "CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, UNIQUE (customer))"
        )
        connection.execute("CREATE TYPE color AS ENUM ('red', 'green')")
        connection.execute("CREATE VIEW predicted AS SELECT id, a AS predict FROM customers")
        connection.execute("COMMENT ON TABLE orders IS 'what PREDICT(x) is about'")
    query = "SELECT id, predict, name FROM predicted JOIN customers USING (id) WHERE predict > ? AND name = ?"
    seen = [told([*java, "Metadata", url(way), query], way) for way in place.ways]
    assert seen[0] == seen[1]
    assert all(seen[0][name] for name in seen[0] if name not in ("procedures", "column privileges"))


@pytest.mark.one_server
def test_a_statement_of_ours_is_described(java: list[str], place: Place) -> None:
    with place.direct.connect() as connection:
        connection.execute(
            "CREATE TABLE t (id int NOT NULL, a float8, name varchar(20), price numeric(7, 2))"
        )
    names = "id, {} AS p, name, price FROM t{} WHERE {} > ? AND name = ? AND price = ?"
    ours = "SELECT " + names.format("PREDICT(weight)", "", "PREDICT(weight)")
    plain = "SELECT " + names.format("m.p", ", LATERAL (SELECT a + 0 AS p) AS m", "m.p")
    of_ours = told([*java, "Metadata", url(place.through), ours], place.through)["of a statement"]
    expected = told([*java, "Metadata", url(place.direct), plain], place.direct)["of a statement"]
    assert of_ours == expected
