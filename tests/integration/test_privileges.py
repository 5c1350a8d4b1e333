"""Who may create, deploy, grant and use models."""

from __future__ import annotations

import json
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from onnx_models.scoring import Model
from onnx_models.storing import deploy, drop, export, register, rollback
from tests import summing
from tests.fix_server import Database

ARTIFACT = summing.regression({"a": "integer"})
ROW = "SELECT prediction FROM models.m WHERE a = 5"
BATCH = """
    SELECT ml.float8s(m.prediction) FROM (
        SELECT '{"v":1,"rows":1,"numbers":["a"],"texts":[]}' || E'\\n'
            || encode(ml.raw(ARRAY[ARRAY[5]]::float8[]), 'base64') AS batch OFFSET 0
    ) b JOIN models.m__batch m ON m.batch = b.batch
"""
VERSION = BATCH.replace("m__batch m ON", "m__version m ON m.version = 1 AND")
Denied = psycopg.errors.InsufficientPrivilege


@dataclass
class People:
    """A creator who owns model ``m``, and two roles without rights."""

    database: Database
    creator: str
    friend: str
    stranger: str

    def connect(self, role: str) -> psycopg.Connection:
        return self.database.connect(user=role)

    def grant(self, statement: str, role: str, by: str | None = None) -> None:
        with self.connect(by or self.creator) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(role)))


@pytest.fixture
def people(database: Database) -> People:
    found = People(database, *(database.role(name) for name in ("creator", "friend", "stranger")))
    with database.connect() as connection:
        statement = sql.SQL("GRANT CREATE ON SCHEMA models TO {}")
        connection.execute(statement.format(sql.Identifier(found.creator)))
    with found.connect(found.creator) as connection:
        summing.store(connection, "m", ARTIFACT)
    return found


def can_predict(connection: psycopg.Connection) -> bool:
    """Whether the role may use all forms, which must never differ."""
    allowed = []
    for query, answer in ((ROW, 5.0), (BATCH, [5.0]), (VERSION, [5.0])):
        try:
            assert connection.execute(query).fetchall() == [(answer,)]
            allowed.append(True)
        except Denied:
            allowed.append(False)
    assert len(set(allowed)) == 1
    return allowed[0]


def test_creator_may_do_everything(people: People) -> None:
    with people.connect(people.creator) as connection:
        assert can_predict(connection)
        summing.store(connection, "m", summing.regression({"a": "integer"}, offset=1.0))
        assert rollback(connection, "m") == 1
        assert export(connection, "m", 1) == ARTIFACT
        assert [row[0] for row in connection.execute("SELECT name FROM ml.models").fetchall()] == ["m"]
        drop(connection, "m")


def test_stranger_may_do_nothing(people: People) -> None:
    with people.connect(people.stranger) as connection:
        assert not can_predict(connection)
        signature = Model.load(ARTIFACT).signature
        with pytest.raises(Denied, match="may not create models"):
            register(connection, "other", signature, ARTIFACT, {})
        with pytest.raises(Denied, match="must be owner of model 'm'"):
            register(connection, "m", signature, ARTIFACT, {})
        for action in (deploy, rollback, drop, export):
            with pytest.raises(Denied):
                action(connection, "m")
        assert connection.execute("SELECT * FROM ml.models").fetchall() == []
        assert connection.execute("SELECT * FROM ml.versions").fetchall() == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM ml.artifact",
        "SELECT * FROM ml.model",
        "UPDATE ml.model SET owner = current_user",
        "DELETE FROM ml.model_version",
        'SELECT * FROM ml_internal."$batch"',
        "SELECT ml_internal.reinterpret('\\x00')",
        "SELECT ml_internal.copy_grants()",
        "SELECT ml_internal.complete_models()",
        "SELECT ml_internal.prediction_type('{}')",
        "SELECT * FROM ml.model_version",
        "CREATE FOREIGN TABLE mine (a integer) SERVER pgpredict",
        "CREATE SERVER other FOREIGN DATA WRAPPER multicorn OPTIONS (wrapper 'os.system')",
        "ALTER SERVER pgpredict OPTIONS (ADD socket '/tmp/mine')",
        "CREATE VIEW models.v AS SELECT 1",
        "IMPORT FOREIGN SCHEMA x FROM SERVER pgpredict INTO public",
        "CREATE USER MAPPING FOR current_user SERVER pgpredict OPTIONS (socket '/tmp/mine')",
    ],
)
def test_internals_are_closed(people: People, statement: str) -> None:
    with people.connect(people.stranger) as connection, pytest.raises(Denied):
        connection.execute(statement)


def test_creator_has_no_way_to_internals_either(people: People) -> None:
    with people.connect(people.creator) as connection:
        for statement in ('SELECT * FROM ml_internal."$batch"', "SELECT * FROM ml.artifact"):
            with pytest.raises(Denied):
                connection.execute(statement)


def test_grant_covers_all_forms(people: People) -> None:
    people.grant("GRANT SELECT ON models.m TO {}", people.friend)
    with people.connect(people.friend) as connection:
        assert can_predict(connection)
        assert [row[0] for row in connection.execute("SELECT name FROM ml.models").fetchall()] == ["m"]
        with pytest.raises(Denied):
            deploy(connection, "m")
        with pytest.raises(Denied):
            connection.execute(sql.SQL("SELECT ml.export('m')"))
    with people.connect(people.stranger) as connection:
        assert not can_predict(connection)
    people.grant("REVOKE SELECT ON models.m FROM {}", people.friend)
    with people.connect(people.friend) as connection:
        assert not can_predict(connection)


def test_grant_option_and_its_end(people: People) -> None:
    people.grant("GRANT SELECT ON models.m TO {} WITH GRANT OPTION", people.friend)
    people.grant("GRANT SELECT ON models.m TO {}", people.stranger, by=people.friend)
    with people.connect(people.stranger) as connection:
        assert can_predict(connection)
    people.grant("REVOKE GRANT OPTION FOR SELECT ON models.m FROM {} CASCADE", people.friend)
    with people.connect(people.stranger) as connection:
        assert not can_predict(connection)
    with people.connect(people.friend) as connection:
        assert can_predict(connection)


def test_public_and_all_tables(people: People) -> None:
    people.grant("GRANT SELECT ON models.m TO PUBLIC", people.friend)
    with people.connect(people.stranger) as connection:
        assert can_predict(connection)
    people.grant("REVOKE SELECT ON models.m FROM PUBLIC", people.friend)
    with people.connect(people.stranger) as connection:
        assert not can_predict(connection)
    with people.database.connect() as connection:
        statement = sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA models TO {}")
        connection.execute(statement.format(sql.Identifier(people.friend)))
    with people.connect(people.friend) as connection:
        assert can_predict(connection)


@pytest.mark.parametrize("view", ["m__batch", "m__version"])
def test_a_form_cannot_be_granted_alone(people: People, view: str) -> None:
    with people.database.connect() as connection:
        statement = sql.SQL("GRANT SELECT ON models.{} TO {}")
        connection.execute(statement.format(sql.Identifier(view), sql.Identifier(people.friend)))
    with people.connect(people.friend) as connection:
        assert not can_predict(connection)


def test_grants_of_other_objects_go_on(people: People) -> None:
    """Whatever is wrong with the models, nobody else's GRANT fails for it."""
    with people.database.connect() as connection:
        connection.execute("CREATE TABLE other (a integer)")
        connection.execute("ALTER TABLE ml.model RENAME TO hidden")
        connection.execute("GRANT SELECT ON other TO PUBLIC")
        connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
        connection.execute("ALTER TABLE ml.hidden RENAME TO model")
        with connection.transaction():
            connection.execute("GRANT SELECT ON other TO PUBLIC")
            connection.execute("REVOKE SELECT ON other FROM PUBLIC")


def test_grants_survive_a_new_shape(people: People) -> None:
    people.grant("GRANT SELECT ON models.m TO {}", people.friend)
    with people.connect(people.creator) as connection:
        summing.store(connection, "m", summing.regression({"b": "text", "c": "integer"}))
    with people.connect(people.friend) as connection:
        query = "SELECT prediction FROM models.m WHERE b = 'UA' AND c = 1"
        assert connection.execute(query).fetchall() == [(101.0,)]
    with people.connect(people.creator) as connection:
        rollback(connection, "m")
    with people.connect(people.friend) as connection:
        assert can_predict(connection)
    with people.connect(people.stranger) as connection:
        assert not can_predict(connection)


def test_set_role_counts(people: People) -> None:
    with people.database.connect() as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(people.stranger)))
        assert not can_predict(connection)
        with pytest.raises(Denied):
            deploy(connection, "m")
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(people.creator)))
        assert can_predict(connection)
        summing.store(connection, "second", ARTIFACT)
        row = connection.execute("SELECT owner FROM ml.models WHERE name = 'second'").fetchone()
        assert row == (people.creator,)


def test_members_of_the_owner_may_deploy(people: People) -> None:
    with people.database.connect() as connection:
        statement = sql.SQL("GRANT {} TO {}")
        connection.execute(statement.format(*map(sql.Identifier, (people.creator, people.friend))))
    with people.connect(people.friend) as connection:
        assert can_predict(connection)
        assert deploy(connection, "m") == 1


def test_views_of_a_grantee_delegate(people: People) -> None:
    people.grant("GRANT SELECT ON models.m TO {}", people.friend)
    with people.database.connect() as connection:
        statement = sql.SQL("GRANT CREATE ON SCHEMA public TO {}")
        connection.execute(statement.format(sql.Identifier(people.friend)))
    with people.connect(people.friend) as connection:
        connection.execute("CREATE VIEW mine AS SELECT * FROM models.m")
        connection.execute("GRANT SELECT ON mine TO PUBLIC")
    with people.connect(people.stranger) as connection:
        assert connection.execute("SELECT prediction FROM mine WHERE a = 5").fetchall() == [(5.0,)]


def test_search_path_of_the_caller_does_not_matter(people: People) -> None:
    """Objects that a user puts in the way of SECURITY DEFINER functions are not used."""
    with people.database.connect() as connection:
        statement = sql.SQL("GRANT CREATE ON SCHEMA public TO {}")
        connection.execute(statement.format(sql.Identifier(people.stranger)))
    with people.connect(people.stranger) as connection:
        connection.execute(
            "CREATE TEMP TABLE pg_roles AS SELECT current_user AS rolname, true AS rolsuper, 1::oid AS oid"
        )
        connection.execute("SET search_path = pg_temp, public, pg_catalog")
        with pytest.raises(Denied):
            deploy(connection, "m")


def test_runtime_role_reads_artifacts_only(people: People) -> None:
    with people.database.connect() as connection:
        connection.execute("SET ROLE pgpredict_runtime")
        assert connection.execute("SELECT count(*) FROM ml.artifact").fetchone() == (1,)
        for statement in ("SELECT * FROM ml.model", "DELETE FROM ml.artifact", ROW, BATCH):
            with pytest.raises(Denied):
                connection.execute(statement)


def test_nothing_of_the_creators_runs_as_the_extensions_owner(people: People) -> None:
    """The target's type may be a domain whose check, or an enum whose cast, is code of the creator's."""
    with people.database.connect() as connection:
        statement = sql.SQL("GRANT CREATE ON SCHEMA public TO {}")
        connection.execute(statement.format(sql.Identifier(people.creator)))
    with people.connect(people.creator) as connection:
        for command in (
            "CREATE TABLE public.ran (role text)",
            "CREATE TYPE public.mood AS ENUM ('no', 'yes')",
            """CREATE FUNCTION public.spy(text) RETURNS boolean LANGUAGE plpgsql AS
            'BEGIN INSERT INTO public.ran VALUES (current_user); RETURN true; END'""",
            """CREATE FUNCTION public.feel(text) RETURNS public.mood LANGUAGE plpgsql AS
            'BEGIN PERFORM public.spy($1); RETURN ''no''; END'""",
            "CREATE DOMAIN public.trap AS text CHECK (public.spy(VALUE))",
            "CREATE CAST (text AS public.mood) WITH FUNCTION public.feel(text)",
        ):
            connection.execute(command)
        artifact = summing.classifier({"a": "integer"})
        for number, target in enumerate(("public.trap", "trap", "public.trap[]", "public.mood")):
            name = f"m{number}"
            # a signature that our own library would refuse may come with SQL
            signature = Model.load(artifact).signature.to_json()
            signature["target"]["type"] = target
            values = (name, json.dumps(signature), artifact)
            connection.execute("SELECT ml.register_version(%s, %s::jsonb, %s)", values)
            deploy(connection, name)
            found = connection.execute(f"SELECT prediction FROM models.{name} WHERE a = 5").fetchall()
            assert found == [("no",)]
        assert connection.execute("SELECT role FROM public.ran").fetchall() == []


@pytest.mark.parametrize("view", ["m__batch", "m__version"])
def test_a_grantee_cannot_grant_a_form_alone(people: People, view: str) -> None:
    people.grant("GRANT SELECT ON models.m TO {} WITH GRANT OPTION", people.friend)
    people.grant(f"GRANT SELECT ON models.{view} TO {{}}", people.stranger, by=people.friend)
    with people.connect(people.stranger) as connection:
        assert not can_predict(connection)
    with people.connect(people.friend) as connection:
        assert can_predict(connection)


def test_views_of_others_with_a_models_name_are_left_alone(people: People) -> None:
    """Whoever may create models may create other things in their schema, before a first deployment."""
    with people.database.connect() as connection:
        statement = sql.SQL("GRANT CREATE ON SCHEMA models TO {}")
        connection.execute(statement.format(sql.Identifier(people.friend)))
    with people.connect(people.creator) as creator, people.connect(people.friend) as friend:
        summing.store(creator, "late", ARTIFACT, deployed=False)
        friend.execute(
            "CREATE VIEW models.late AS SELECT 1 AS a, ''::text AS features, 6.6::float8 AS prediction"
        )
        with pytest.raises(psycopg.errors.DuplicateTable):
            deploy(creator, "late")
        drop(creator, "late")
        assert friend.execute("SELECT prediction FROM models.late").fetchall() == [(6.6,)]


def test_code_that_runs_in_the_session_of_another_has_its_own_rights_only(people: People) -> None:
    """PostgreSQL runs the function of an index as the table's owner, whoever analyzes the table."""
    with people.database.connect() as connection:
        statement = sql.SQL("GRANT CREATE ON SCHEMA public TO {}")
        connection.execute(statement.format(sql.Identifier(people.stranger)))
    with people.connect(people.stranger) as connection:
        connection.execute("CREATE TABLE public.bait AS SELECT 1 AS a")
        connection.execute(
            """CREATE FUNCTION public.steal(a integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$
            BEGIN
                IF session_user <> current_user THEN PERFORM ml.drop_model('m'); END IF;
                RETURN a;
            END $$"""
        )
        connection.execute("CREATE INDEX ON public.bait (public.steal(a))")
    with people.database.connect() as connection:
        with pytest.raises(Denied, match="must be owner of model 'm'"):
            connection.execute("ANALYZE public.bait")
        assert connection.execute("SELECT name FROM ml.models").fetchall() == [("m",)]


def test_functions_of_the_owner_lend_their_rights(people: People) -> None:
    with people.database.connect() as connection:
        statement = sql.SQL("GRANT CREATE ON SCHEMA public TO {}")
        connection.execute(statement.format(sql.Identifier(people.creator)))
    with people.connect(people.creator) as connection:
        connection.execute(
            "CREATE FUNCTION public.nightly() RETURNS integer LANGUAGE sql SECURITY DEFINER "
            "SET search_path = pg_catalog, pg_temp AS $$ SELECT ml.deploy('m') $$"
        )
    with people.connect(people.friend) as connection:
        assert connection.execute("SELECT public.nightly()").fetchall() == [(1,)]
        with pytest.raises(Denied):
            connection.execute(
                "INSERT INTO ml.request (action, model, caller) VALUES ('drop', 'm', 'postgres')"
            )
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="action 'dorp' is unknown"):
            connection.execute("INSERT INTO ml.request (action, model) VALUES ('dorp', 'm')")
