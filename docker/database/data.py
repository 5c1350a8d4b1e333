"""The data directory: made at the first start, brought up to date at later ones, held by one container."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .configuration import access_rules, account_map, write_configuration
from .errors import Refused
from .scram import fits, make_verifier
from .server import Inside, Programs, inside
from .settings import Settings

SCRIPTS = Path("/docker-entrypoint-initdb.d")
SQL = Path(__file__).parent


def say(line: str) -> None:
    """Tell what goes on, in the container's log."""
    sys.stderr.write(f"pgpredict-database: {line}\n")
    sys.stderr.flush()


def check_version(programs: Programs, data: Path) -> bool:
    """Tell whether there is a cluster of this image's version.

    :raises Refused: if there is one of another version, or other files
    """
    version = data / "PG_VERSION"
    if version.exists():
        found = version.read_text().strip()
        if found != str(programs.major):
            raise Refused(
                f"{str(data)!r} is of PostgreSQL {found}, and this image is PostgreSQL {programs.major}",
                hint="dump it with the old image and restore it with this one (docs/operate.md)",
            )
        return True
    if data.is_dir() and any(data.iterdir()):
        raise Refused(
            f"{str(data)!r} has other files than a database cluster's", hint="empty it, or move it away"
        )
    clusters = (path.parent for path in data.parent.parent.glob("*/*/PG_VERSION"))
    other = sorted(path for path in clusters if path.suffix != ".new")
    if other:
        raise Refused(
            f"the volume has data in {str(other[0])!r}, and this image is PostgreSQL {programs.major}",
            hint="dump it with the old image, and restore it with this one on a new volume (docs/operate.md)",
        )
    return False


def make(programs: Programs, settings: Settings) -> None:
    """Make the cluster and the database with the extension; run the scripts of the user's.

    What a container that was killed has left half made is made again: it gets its name when it is whole.

    :raises Refused: if something is missing, or fails
    """
    if settings.password is None:
        raise Refused(
            "the data directory is empty, and there is no password for the superuser",
            hint="set POSTGRES_PASSWORD_FILE to the path of a secret, or POSTGRES_PASSWORD",
        )
    new = settings.data.with_name(f"{settings.data.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    say(f"making a database cluster in {settings.data}")
    _initdb(programs, settings, new)
    write_configuration(programs.major, settings, new)
    with inside(programs, new, settings.user) as server:
        names = {"database": settings.database}
        server.psql("postgres", (SQL / "database.sql").read_text(), names)
        server.psql(settings.database, (SQL / "extension.sql").read_text())
        bring_up_to_date(server, settings)
        for script in sorted(SCRIPTS.iterdir()) if SCRIPTS.is_dir() else ():
            _run_script(server, settings, script)
    new.rename(settings.data)


def _initdb(programs: Programs, settings: Settings, new: Path) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="surrogateescape") as password:
        password.write(f"{settings.password}\n")
        password.flush()
        command = [str(programs.bindir / "initdb"), "-D", str(new), f"--username={settings.user}"]
        command += [f"--pwfile={password.name}", "--auth=scram-sha-256", "--data-checksums"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", *settings.initdb]
        done = subprocess.run(
            command,
            env=programs.server_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        # of a statement that failed it tells all, the password too
        said = [line for line in done.stdout.splitlines() if "STATEMENT" not in line]
        raise Refused("initdb failed: " + "\n".join(said).strip())
    (new / "pg_hba.conf").write_text(access_rules(settings.user))
    (new / "pg_ident.conf").write_text(account_map(settings.user))


def _run_script(server: Inside, settings: Settings, script: Path) -> None:
    environment = server.environment(settings.database)
    given = {"POSTGRES_USER": settings.user, "POSTGRES_DB": settings.database}
    if script.suffix == ".sh":
        say(f"running {script}")
        command = [str(script)] if os.access(script, os.X_OK) else ["bash", str(script)]
        done = subprocess.run(command, env={**environment, **given}, check=False)
        if done.returncode != 0:
            raise Refused(f"the script {str(script)!r} ended with exit code {done.returncode}")
    elif script.name.endswith((".sql", ".sql.gz")):
        say(f"running {script}")
        data = gzip.decompress(script.read_bytes()) if script.suffix == ".gz" else script.read_bytes()
        try:
            # the user's may take as long as they take
            server.psql(settings.database, data.decode("utf-8", "surrogateescape"), limited=False)
        except Refused as error:
            raise Refused(f"the script {str(script)!r} failed: {error.message}") from error
    else:
        say(f"ignoring {script}")


def renew(programs: Programs, settings: Settings) -> None:
    """Bring a cluster up to date before anybody is let in, at every start.

    The image may be a newer one, the secret another; what was restored from a dump brings its own.
    """
    if (settings.data / "standby.signal").exists():
        return  # it follows its primary, in this too
    if (settings.data / "recovery.signal").exists():
        say(
            "this is a recovery: extension and the runtime's password stay what they are until the next start"
        )
        return
    with inside(programs, settings.data, settings.user) as server:
        if server.psql("postgres", (SQL / "recovery.sql").read_text()).strip() == "t":
            say("the server is in recovery: extension and the runtime's password stay what they are")
            return
        bring_up_to_date(server, settings)


def bring_up_to_date(server: Inside, settings: Settings) -> None:
    """Update the extension wherever it is, and let the runtime's role in by its password.

    A database whose update fails keeps its version: the others, and all that is not of ours, go on.
    """
    version = server.programs.extension
    for database in server.psql("postgres", (SQL / "databases.sql").read_text()).splitlines():
        try:
            done = server.psql(database, (SQL / "update.sql").read_text(), {"version": version}).strip()
        except Refused as error:
            say(f"error: the extension cannot be updated to {version}: {error.message}")
            continue
        if done:
            say(f"updated the extension pgpredict from {done} to {version} in the database {database!r}")
    if settings.runtime_password is None:
        say("PGPREDICT_RUNTIME_PASSWORD is not set: the runtime's role keeps the password that it has")
        return
    stored = server.psql("postgres", (SQL / "verifier.sql").read_text()).strip()
    if not fits(stored, settings.runtime_password):
        verifier = make_verifier(settings.runtime_password)
        server.psql("postgres", (SQL / "runtime.sql").read_text(), {"verifier": verifier})
