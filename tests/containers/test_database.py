"""The image of the database alone: what it refuses, its first start, its later ones."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compose import Volume
from tests.fix_containers import SUPERUSER_PASSWORD, Images, Project
from tests.fix_runtime import eventually
from tests.pages import ROOT

pytestmark = pytest.mark.timeout(1200)

SECRET = "/run/secrets/superuser_password"
CERTIFICATE, KEY = "PGPREDICT_TLS_CERT_FILE", "PGPREDICT_TLS_KEY_FILE"
#: environment (None: without it), and what is said
REFUSED: dict[str, tuple[dict[str, str | None], str]] = {
    "no password": ({"POSTGRES_PASSWORD_FILE": None}, "there is no password for the superuser"),
    "empty password": (
        {"POSTGRES_PASSWORD_FILE": None, "POSTGRES_PASSWORD": ""},
        "POSTGRES_PASSWORD is empty",
    ),
    "no such secret": (
        {"POSTGRES_PASSWORD_FILE": "/run/secrets/x"},
        "'/run/secrets/x', which does not exist",
    ),
    "a directory": ({"POSTGRES_PASSWORD_FILE": "/run/secrets"}, "'/run/secrets', which is no file"),
    "both": ({"POSTGRES_PASSWORD": "x"}, "both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set"),
    "trust": ({"POSTGRES_HOST_AUTH_METHOD": "trust"}, "POSTGRES_HOST_AUTH_METHOD is 'trust'"),
    "relative": ({"PGDATA": "data"}, "PGDATA is 'data', which is not an absolute path"),
    "long name": ({"POSTGRES_DB": "x" * 64}, "which is no name of PostgreSQL"),
    "reserved": ({"POSTGRES_USER": "pg_monitor"}, "POSTGRES_USER is 'pg_monitor', which is reserved"),
    "quoted": ({"POSTGRES_USER": 'x"y'}, "POSTGRES_USER is 'x\"y', and no owner of an extension may"),
    "words": ({"POSTGRES_INITDB_ARGS": "'"}, "No closing quotation"),
    "waldir": ({"POSTGRES_INITDB_ARGS": "--waldir=/tmp/wal"}, "names a directory: '--waldir=/tmp/wal'"),
    "initdb": ({"POSTGRES_INITDB_ARGS": "--nonsense"}, "initdb failed"),
    # initdb itself would print the statement with the password
    "leak": ({"POSTGRES_INITDB_ARGS": "'--username=a\"b'"}, "initdb failed"),
    "half of TLS": ({CERTIFICATE: SECRET}, f"{CERTIFICATE} and {KEY} go together"),
    "no certificate": ({CERTIFICATE: SECRET, KEY: SECRET}, "the server ended with exit code 1"),
}


def refused(project: Project) -> str:
    """Run a database that must not start, and return what it says."""
    done = project.engine.run(dataclasses.replace(project.services["database"], name="refused"))
    assert done.code == 1, done.output
    assert "Traceback" not in done.output
    assert SUPERUSER_PASSWORD not in done.output
    return done.output


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(shared: Project, case: str) -> None:
    changes, said = REFUSED[case]
    environment = {**shared.services["database"].environment, **changes}
    given = {name: text for name, text in environment.items() if text is not None}
    before = shared.services["database"]
    shared.change("database", environment=given)
    try:
        output = refused(shared)
    finally:
        shared.services["database"] = before
    assert said in output
    assert "pgpredict-database: error: " in output


@pytest.fixture(scope="module")
def shared(make_project: Callable[..., Project]) -> Project:
    """A project whose database never starts."""
    return make_project()


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("", 0o444, "(POSTGRES_PASSWORD_FILE) is empty"),
        ("\n", 0o444, "(POSTGRES_PASSWORD_FILE) is empty"),
        ("one\ntwo\n", 0o444, "has more than one line"),
        ("secret\n", 0o400, "which the uid 10432 cannot read"),
    ],
)
def test_bad_secrets_are_refused(project: Project, text: str, mode: int, said: str) -> None:
    path = project.secrets / "superuser_password"
    path.chmod(0o644)
    path.write_text(text)
    path.chmod(mode)
    assert said in refused(project)


def test_what_it_writes_to_has_to_be_there(project: Project, tmp_path: Path) -> None:
    before = project.services["database"]
    project.change("database", tmpfs=("/tmp",))
    assert "cannot write to '/run/postgresql'" in refused(project)
    project.services["database"] = before
    tmp_path.chmod(0o755)
    project.change("database", volumes=(Volume(str(tmp_path), "/var/lib/postgresql"),))
    said = refused(project)
    assert f"cannot write to '/var/lib/postgresql/{project.major}'" in said
    assert "chown 10432:10432" in said


def test_other_commands_run_as_they_are(project: Project) -> None:
    for words, said in (
        (("psql", "--version"), f"psql (PostgreSQL) {project.major}"),
        (("--version",), f"postgres (PostgreSQL) {project.major}"),
    ):
        service = dataclasses.replace(project.services["database"], name="other", command=words)
        done = project.engine.run(service)
        assert done.code == 0, done.output
        assert done.output.splitlines()[-1].startswith(said)


def test_scripts_of_the_first_start(project: Project, tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    scripts.chmod(0o755)
    tmp_path.chmod(0o755)
    (scripts / "1.sql").write_text("CREATE TABLE one AS SELECT current_user::text AS who;")
    (scripts / "2.sql.gz").write_bytes(gzip.compress(b"CREATE TABLE two AS SELECT who FROM one;"))
    (scripts / "3.sh").write_text(
        "psql -c \"CREATE TABLE three AS SELECT who, '$POSTGRES_DB' AS db FROM two\"\n"
    )
    (scripts / "4.sh").write_text("exit 3\n")
    (scripts / "README").write_text("not a script\n")
    volumes = (
        *project.services["database"].volumes,
        Volume(str(scripts), "/docker-entrypoint-initdb.d", True),
    )
    project.change("database", volumes=volumes)
    said = refused(project)
    assert "the script '/docker-entrypoint-initdb.d/4.sh' ended with exit code 3" in said
    # nothing is left of it: the next start is the first one again
    (scripts / "4.sh").unlink()
    project.up("database")
    assert project.psql("-d", "pgpredict", "-c", "SELECT * FROM three").output == "postgres|pgpredict\n"
    assert "ignoring /docker-entrypoint-initdb.d/README" in project.engine.logs("database")
    # and they run once
    project.engine.stop(project.services["database"])
    project.restart("database")
    assert "running" not in project.engine.logs("database")


def test_a_first_start_that_is_killed(project: Project, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    scripts.chmod(0o755)
    (scripts / "1.sh").write_text("echo here it waits; sleep 600\n")
    before = project.services["database"]
    volumes = (*before.volumes, Volume(str(scripts), "/docker-entrypoint-initdb.d", True))
    project.change("database", volumes=volumes)
    for kill in (project.engine.kill, lambda name: project.engine.signal(name, "SIGTERM")):
        project.engine.start(project.services["database"])
        eventually(lambda: "here it waits" in project.engine.logs("database"))
        assert not project.well("database")
        kill("database")
        project.engine.wait("database", 20)
    project.services["database"] = before
    project.up("database")
    assert project.psql(
        "-d", "pgpredict", "-c", "SELECT extname FROM pg_extension WHERE extname = 'pgpredict'"
    ).output


def test_who_may_log_in(project: Project) -> None:
    project.up("database")
    project.psql("-c", "CREATE ROLE alice LOGIN PASSWORD 'wonder'")
    over_tcp = ["-h", "127.0.0.1", "-w", "-c", "SELECT current_user"]
    # the superuser's account is enough inside of the container, on the socket, and nowhere else
    assert project.psql("-c", "SELECT current_user").output == "postgres\n"
    assert "no password supplied" in project.psql(*over_tcp).output
    assert "no password supplied" in project.psql("-U", "alice", "-w", "-c", "SELECT 1").output
    dsn = "host=127.0.0.1 dbname=postgres user=alice password={}"
    assert project.psql(dsn.format("wonder"), "-c", "SELECT current_user").output == "alice\n"
    assert "password authentication failed" in project.psql(dsn.format("wrong"), "-c", "SELECT 1").output
    stored = project.psql("-c", "SELECT rolname FROM pg_authid WHERE rolpassword NOT LIKE 'SCRAM-SHA-256$%'")
    assert stored.output == ""
    rules = project.psql("-c", "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'")
    assert rules.output == "0\n"


def test_names_of_the_user(project: Project) -> None:
    environment = {"POSTGRES_USER": "the Böss; --", "POSTGRES_DB": "a \"b\\ 'c"}
    project.change("database", environment={**project.services["database"].environment, **environment})
    project.up("database")
    done = project.psql(
        "-U", environment["POSTGRES_USER"], "-d", environment["POSTGRES_DB"], "-c", "SELECT current_user"
    )
    assert done.output == environment["POSTGRES_USER"] + "\n"


def test_settings(project: Project) -> None:
    command = ("postgres", "-c", "max_connections=55")
    project.change(
        "database",
        command=command,
        environment={**project.services["database"].environment, "TZ": "Asia/Tokyo"},
    )
    project.up("database")
    names = "'jit', 'max_connections', 'TimeZone', 'data_checksums'"
    shown = project.psql("-c", f"SELECT name, setting FROM pg_settings WHERE name IN ({names}) ORDER BY 1")
    assert shown.output.split() == [
        "TimeZone|Asia/Tokyo",
        "data_checksums|on",
        "jit|off",
        "max_connections|55",
    ]
    project.psql("-c", "ALTER SYSTEM SET work_mem = '99MB'")
    project.engine.stop(project.services["database"])
    project.restart("database")
    assert project.psql("-c", "SHOW work_mem").output == "99MB\n"


def test_one_container_has_the_data(project: Project) -> None:
    project.up("database")
    place = f"/var/lib/postgresql/{project.major}/data"
    assert f"another container has the data in '{place}'" in refused(project)
    assert project.psql("-c", "SELECT 1").output == "1\n"


def test_data_of_another_version(project: Project) -> None:
    project.up("database")
    project.engine.stop(project.services["database"])
    words = ("sh", "-c", "echo 12 >$PGDATA/PG_VERSION")
    assert (
        project.engine.run(
            dataclasses.replace(project.services["database"], name="other", command=words)
        ).code
        == 0
    )
    assert f"is of PostgreSQL 12, and this image is PostgreSQL {project.major}" in refused(project)
    words = (
        "sh",
        "-c",
        f"echo {project.major} >$PGDATA/PG_VERSION; "
        "mkdir /var/lib/postgresql/12; mv $PGDATA /var/lib/postgresql/12/data",
    )
    assert (
        project.engine.run(
            dataclasses.replace(project.services["database"], name="other", command=words)
        ).code
        == 0
    )
    assert "the volume has data in '/var/lib/postgresql/12/data'" in refused(project)


def test_tls(project: Project) -> None:
    make_certificate(project.secrets)
    environment = {CERTIFICATE: "/run/secrets/tls_certificate", KEY: "/run/secrets/tls_key"}
    database = project.services["database"]
    secrets = {
        **database.secrets,
        **{name: project.secrets / name for name in ("tls_certificate", "tls_key")},
    }
    project.change("database", environment={**database.environment, **environment}, secrets=secrets)
    project.up("database")
    project.psql("-c", "CREATE ROLE alice LOGIN PASSWORD 'wonder'")
    dsn = "host=localhost dbname=postgres user=alice password=wonder sslmode=verify-full "
    dsn += "sslrootcert=/run/secrets/tls_certificate"
    done = project.psql(dsn, "-c", "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert done.output == "t|TLSv1.3\n"


def make_certificate(directory: Path) -> Path:
    """Make a certificate for 127.0.0.1 that is its own authority, as secrets."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")
    certificate, key = directory / "tls_certificate", directory / "tls_key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    for path in (certificate, key):
        path.chmod(0o444)
    return certificate


@pytest.fixture(scope="module")
def old_image(images: Images, shared: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that brings version 0.1.0 of the extension."""
    directory = tmp_path_factory.mktemp("old")
    shutil.copy(ROOT / "tests/data/pgpredict--0.1.0.sql", directory)
    control = (ROOT / "sql/pgpredict.control").read_text()
    assert "default_version = '0.2.0'" in control
    (directory / "pgpredict.control").write_text(control.replace("'0.2.0'", "'0.1.0'"))
    image = shared.services["database"].image
    # of Debian's packages, and of the PostgreSQL project's
    places = ("opt/pgpredict-server/usr/share/postgresql/{}/extension", "usr/pgsql-{}/share/extension")
    files = shared.engine.files(image)
    (place,) = (text for text in (text.format(shared.major) for text in places) if (files / text).is_dir())
    name = "localhost/pgpredict/database-old"
    images.derive(image, name, f"COPY pgpredict.control pgpredict--0.1.0.sql /{place}/\n", directory)
    return name


VERSIONS = "SELECT extversion FROM pg_extension WHERE extname = 'pgpredict'"


def test_a_new_image_updates_the_extension(project: Project, old_image: str) -> None:
    new = project.services["database"]
    project.change("database", image=old_image)
    project.up("database")
    assert project.psql("-d", "pgpredict", "-c", VERSIONS).output == "0.1.0\n"
    project.psql("-c", "CREATE DATABASE second TEMPLATE pgpredict")
    project.psql("-c", "CREATE DATABASE third")
    # here a user has made what the update makes
    project.psql("-c", "CREATE DATABASE broken TEMPLATE pgpredict")
    function = "CREATE FUNCTION ml.class_json(class text, target text) RETURNS jsonb LANGUAGE sql"
    assert project.psql("-d", "broken", "-c", f"{function} AS 'SELECT NULL::jsonb'").code == 0
    project.engine.stop(project.services["database"])
    project.services["database"] = new
    project.restart("database")
    said = project.engine.logs("database")
    for name in ("pgpredict", "second"):
        assert f"updated the extension pgpredict from 0.1.0 to 0.2.0 in the database '{name}'" in said
        assert project.psql("-d", name, "-c", VERSIONS).output == "0.2.0\n"
    # which is said, and keeps nobody else from working
    assert (
        "error: the extension cannot be updated to 0.2.0: a statement failed in the database 'broken'" in said
    )
    assert project.psql("-d", "broken", "-c", VERSIONS).output == "0.1.0\n"
    assert project.psql("-d", "third", "-c", VERSIONS).output == ""
    # and what was updated predicts, as what is made anew does
    project.up()
    project.psql(
        "-d",
        "pgpredict",
        "-c",
        "CREATE TABLE points AS SELECT i AS a, 2 * i AS y FROM generate_series(1, 200) i",
    )
    project.train("twice", "SELECT a, y FROM points")
    rows = project.query("SELECT a, PREDICT(twice) FROM points WHERE a < 5 ORDER BY a")
    assert [a for a, _ in rows] == [1, 2, 3, 4]
    assert max(abs(float(y) - 2 * a) for a, y in rows) < 1.5
    project.engine.stop(new)
    project.restart("database")
    said = project.engine.logs("database")
    assert "in the database 'second'" not in said
    # it is tried again
    assert "a statement failed in the database 'broken'" in said
