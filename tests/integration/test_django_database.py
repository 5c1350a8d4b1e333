"""Django and its database: pools, checks, inspectdb, migrations, test databases, the admin."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import graphs
from tests.fix_clients import PASSWORD, Place, run
from tests.fix_django import CONFIGURATIONS, SITE, Configuration, manage, some_ways, tell
from tests.fix_proxy import PREDICT, store_weight

pytestmark = pytest.mark.one_server
ENGINE = CONFIGURATIONS[0]

INSPECTED = """
class ModelsLate(models.Model):
    x = models.FloatField(blank=True, null=True)
    features = models.TextField(primary_key=True)
    prediction = models.TextField(blank=True, null=True)
    probability = models.FloatField(blank=True, null=True)
    probability_no = models.FloatField(blank=True, null=True)
    probability_yes = models.FloatField(blank=True, null=True)

    class Meta:
        managed = False  # Created from a view. Don't remove.
        db_table = '"models"."late"'
"""


@pytest.fixture
def onnx(tmp_path: Path) -> str:
    """A file with a model that multiplies ``a`` by 5."""
    path = tmp_path / "model.onnx"
    path.write_bytes(graphs.linear((5.0,)))
    return str(path)


@some_ways
def test_the_admin_shows_and_sorts(site: Place, way: Configuration) -> None:
    seen = tell(way, site, "admin_list.py")
    rows = [[f"f{n}", f"{n}0.0", f"{risk} %"] for n, risk in enumerate((10, 30, 60, 90, 50, 70), 1)]
    assert seen == {
        "sorted by weight": rows,
        "by risk, falling": ["f4", "f6", "f3", "f5", "f2", "f1"],
        "by both": ["f1", "f2", "f5", "f3", "f6", "f4"],
        "as many": 6,
        "sorts in the database": True,
    }


@pytest.mark.parametrize("binding", ["client", "server"])
def test_a_pool(site: Place, binding: str) -> None:
    from tests.integration.test_django_queries import EXPECTED

    seen = tell(ENGINE, site, "queries.py", SITE_POOL="yes", SITE_BINDING=binding)
    assert seen.pop("way")[2]
    assert seen == EXPECTED


@some_ways
def test_checks(site: Place, way: Configuration) -> None:
    command = ("check", "--database", "default")
    assert "no issues" in manage(way, site, *command, SITE_APP="yes").stdout
    with site.database.connect() as connection:
        connection.execute("ALTER SERVER pgpredict OPTIONS (ADD socket '/nowhere/runtime.sock')")
    told = manage(way, site, *command, SITE_APP="yes").stderr
    assert "(pgpredict.W003) database 'default': the runtime does not answer" in told
    assert "'/nowhere/runtime.sock'" in told
    with site.database.connect() as connection:
        connection.execute("UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'pgpredict'")
    told = manage(way, site, *command, SITE_APP="yes").stderr
    assert "(pgpredict.W002) database 'default': its extension pgpredict is 0.1.0" in told
    assert "ALTER EXTENSION pgpredict UPDATE" in told
    # an unreachable one is not asked for long
    address = replace(way.address(site), port=1)
    ended = run(
        [sys.executable, SITE / "manage.py", *command], address, **way.environment(site), SITE_APP="yes"
    )
    assert "(pgpredict.W004)" in ended.stderr


def test_inspectdb_knows_model_tables(site: Place) -> None:
    for older in (ENGINE, CONFIGURATIONS[8]):
        told = manage(older, site, "inspectdb", "--include-views").stdout
        assert INSPECTED in told.replace("        db_table_comment = 'model late: binary of y'\n", "")
        assert "__batch" not in told
        one = manage(older, site, "inspectdb", '"models"."late"').stdout
        assert INSPECTED.replace("  # Created from a view. Don't remove.", "") in one.replace(
            "        db_table_comment = 'model late: binary of y'\n", ""
        )


@some_ways
def test_migrations(site: Place, way: Configuration, onnx: str) -> None:
    def migrate(*words: str, **variables: str) -> str:
        ended = manage(way, site, "migrate", *words, SITE_ONNX=onnx, **variables)
        return str(ended.stdout) if ended.returncode == 0 else str(ended.stderr)

    def models() -> dict[str, float]:
        """What the models that there are make of 2, as somebody who owns none."""
        with site.database.connect() as connection:
            made = connection.execute("SELECT name FROM ml.models WHERE owner <> current_user")
            names = [name for (name,) in made.fetchall()]
            query = "SELECT prediction FROM models.{} WHERE a = 2"
            return {name: value for name in names for (value,) in connection.execute(query.format(name))}

    assert "cannot run inside a transaction (set atomic = False" in migrate(SITE_ATOMIC="yes")
    assert models() == {}
    assert "Applying fleet.0003_models... OK" in migrate("fleet", "0003")
    assert models() == {"trained": pytest.approx(7.0), "imported": 10.0}
    role = site.database.role("nobody", f"PASSWORD '{PASSWORD}'")
    with replace(site.direct, user=role).connect() as connection:
        imported = connection.execute("SELECT prediction FROM models.imported WHERE a = 2")
        assert imported.fetchall() == [(10.0,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT prediction FROM models.trained WHERE a = 2")
    assert "Applying fleet.0004_again... OK" in migrate()
    assert models() == {"trained": pytest.approx(14.0)}
    assert "Unapplying fleet.0004_again... OK" in migrate("fleet", "0003")
    assert models() == {"trained": pytest.approx(7.0), "imported": 10.0}
    assert "Unapplying fleet.0003_models... OK" in migrate("fleet", "0002")
    assert models() == {}
    assert "No changes detected" in manage(way, site, "makemigrations", "--check").stdout
    sql = manage(way, site, "sqlmigrate", "fleet", "0003").stdout
    assert sql.count("-- THIS OPERATION CANNOT BE WRITTEN AS SQL") == 3
    assert 'GRANT SELECT ON models."imported" TO PUBLIC;' in sql
    assert "SELECT ml.drop_model('imported');" in manage(way, site, "sqlmigrate", "fleet", "0004").stdout
    # not for other databases
    assert "Applying fleet.0004_again... OK" in migrate("--database", "other")
    migrate("fleet", "0001")
    assert "Applying fleet.0004_again... OK" in migrate(SITE_ROUTER="yes")
    assert models() == {}


@pytest.mark.parametrize("older", [False, True], ids=["current", "4.2"])
def test_going_back_leaves_what_others_have(site: Place, onnx: str, older: bool) -> None:
    """A model that no migration has made, one that is gone already, and a view that needs the extension."""
    way = CONFIGURATIONS[8] if older else ENGINE
    name = f"{site.database.name}_used"
    role = site.database.role("super", f"SUPERUSER PASSWORD '{PASSWORD}'")
    with site.database.server.admin() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    new = replace(site, direct=replace(site.direct, dbname=name, user=role))

    def migrate(target: str) -> bool:
        """Migrate, and tell whether the extension is there."""
        ended = manage(way, new, "migrate", "fleet", target, SITE_ONNX=onnx)
        assert ended.returncode == 0, ended.stderr
        with new.direct.connect() as connection:
            query = "SELECT count(*) FROM pg_extension WHERE extname = 'pgpredict'"
            return connection.execute(query).fetchall() == [(1,)]

    try:
        assert migrate("0004")
        for number, sql in (
            ("0003", 'REVOKE SELECT ON models."imported"'),
            ("0001", "DROP EXTENSION pgpredict;"),
        ):
            assert sql in manage(way, new, "sqlmigrate", "fleet", number, "--backwards").stdout
        with new.direct.connect() as connection:
            store_weight(connection, 10.0, "theirs")
            connection.execute("SELECT ml.drop_model('trained')")
        assert migrate("zero")
        with new.direct.connect() as connection:
            assert connection.execute("SELECT name FROM ml.models").fetchall() == [("theirs",)]
            connection.execute("SELECT ml.drop_model('theirs')")
            connection.execute("CREATE VIEW used AS SELECT ml.features(c) FROM pg_class AS c")
        assert migrate("0001")
        assert migrate("zero")
        with new.direct.connect() as connection:
            connection.execute("DROP VIEW used")
        assert migrate("0001")
        assert not migrate("zero")
    finally:
        with site.database.server.admin() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_extension_comes_and_goes(site: Place, onnx: str) -> None:
    name = f"{site.database.name}_new"
    role = site.database.role("super", f"SUPERUSER PASSWORD '{PASSWORD}'")
    with site.database.server.admin() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    new = replace(site, direct=replace(site.direct, dbname=name, user=role))
    query = "SELECT count(*) FROM pg_extension WHERE extname = 'pgpredict'"
    try:
        for target, expected in (("0004", 1), ("zero", 0)):
            ended = manage(ENGINE, new, "migrate", "fleet", target, SITE_ONNX=onnx)
            assert ended.returncode == 0, ended.stderr
            with new.direct.connect() as connection:
                assert connection.execute(query).fetchall() == [(expected,)]
    finally:
        with site.database.server.admin() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def tester(site: Place) -> Iterator[tuple[Place, str]]:
    """A place for a role that may make databases, as copies of a template with the extension."""
    name = f"{site.database.name}_template"
    role = site.database.role("tester", f"CREATEDB PASSWORD '{PASSWORD}'")
    with site.database.server.admin() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE pgpredict_template")
        connection.execute(f"ALTER DATABASE {name} IS_TEMPLATE true")
        with psycopg.connect(site.database.server.dsn(name)) as inside:
            inside.execute(f"GRANT CREATE ON SCHEMA models TO {role}")
        direct, through = (replace(address, user=role) for address in site.ways)
        yield replace(site, direct=direct, through=through), name
        connection.execute(f"ALTER DATABASE {name} IS_TEMPLATE false")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("words", [(), ("--parallel", "2")], ids=["one after the other", "in parallel"])
@some_ways
def test_test_databases(
    tester: tuple[Place, str], way: Configuration, words: tuple[str, ...], onnx: str
) -> None:
    place, template = tester
    ended = manage(way, place, "test", "fleet", "--noinput", *words, SITE_TEMPLATE=template, SITE_ONNX=onnx)
    assert ended.returncode == 0, ended.stderr
    assert "Ran 5 tests" in ended.stderr
    with place.database.server.admin() as connection:
        query = "SELECT datname FROM pg_database WHERE datname LIKE %s"
        assert connection.execute(query, [f"test_{place.database.name}%"]).fetchall() == []


def test_plain_django_without_the_proxy_says_what_is_missing(site: Place) -> None:
    """There is nobody to rewrite, so PostgreSQL does not know the words."""
    plain: Any = replace(CONFIGURATIONS[5], through=False)
    ended = run([sys.executable, SITE / "errors.py", "bare"], plain.address(site), **plain.environment(site))
    assert json.loads(ended.stdout)[1] == "42601"
    with site.through.connect() as connection:
        assert connection.execute(PREDICT).fetchall() == [(20.0,)]
