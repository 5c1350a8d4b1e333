"""What ``pgpredict doctor`` looks at where the runtime and the proxy are services of this host."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgpredict.connection import connect_as_owner, server_owner
from pgpredict.errors import PgpredictError
from pgpredict.proxy import make_settings
from pgpredict.runtime.client import RuntimeClient
from pgpredict.server.account import Account, acting_as, run
from pgpredict.server.checks import Check, check_database, check_disk, check_settings, guarded
from pgpredict.server.daemon import interpreter
from pgpredict.server.database import RUNTIME_ROLE
from pgpredict.server.foreign import DEFAULT_SOCKET
from pgpredict.server.health import answers, health, reachable
from pgpredict.server.queries import query

from . import systemd
from .host import CONFIGURATION, Host, environment, memory
from .surroundings import find_account
from .units import HEADROOM, SERVICES, Settings, is_untouched, render

#: as the unit has it
DEFAULT_DSN = f"host=/run/postgresql user={RUNTIME_ROLE}"
#: what a process of the runtime's account tries
_LOG_IN = """
import os, psycopg
try:
    psycopg.connect(os.environ["PGPREDICT_DSN"], dbname="postgres", connect_timeout=10).close()
except psycopg.Error as error:
    print(error)
"""

INSTALL = "run 'pgpredict service install'"
#: restarts by systemd; more than that is worth a look
MANY_RESTARTS = 3


def check_services(host: Host) -> Iterator[Check]:
    """Look at the units, the processes behind them, and the server's databases."""
    services = host.installed()
    for service in services:
        yield from guarded(service, lambda service=service: check_unit(host, service))  # type: ignore[misc]
    if "runtime" in services:
        yield from guarded("runtime", lambda: check_runtime(host))
        yield from guarded("server", lambda: check_server(host))
    if "proxy" in services:
        yield from guarded("proxy", lambda: check_proxy(host))


def check_unit(host: Host, service: str) -> Iterator[Check]:
    """Look at a unit: what systemd knows of it, and whether its file is this version's."""
    unit, name = SERVICES[service], f"unit {service}"
    if not systemd.is_running():
        yield Check(name, "warn", f"{unit} is installed, but systemd does not run this machine", "reboot it")
        return
    state = systemd.show(unit)
    if state["ActiveState"] != "active":
        said = systemd.last_lines(unit, 1).strip()
        problem = f"{unit} is {state['ActiveState']} ({state['Result']})" + (f": {said}" if said else "")
        mend = (
            f"systemctl reset-failed {unit}; systemctl start {unit}; journalctl -u {unit} tells why it ended"
        )
        yield Check(name, "fail", problem, mend)
    else:
        yield Check(name, "ok", f"{unit} is active, process {state['MainPID']} as {state['User']!r}")
    if state["UnitFileState"] != "enabled":
        problem = f"{unit} is {state['UnitFileState'] or 'not installed'}: it does not start with the machine"
        yield Check(name, "warn", problem, f"systemctl enable {unit}")
    if state["NeedDaemonReload"] == "yes":
        mend = f"systemctl daemon-reload; systemctl restart {unit}"
        yield Check(name, "warn", f"{unit} runs as it was before its file changed", mend)
    if int(state["NRestarts"] or 0) > MANY_RESTARTS:
        mend = f"journalctl -u {unit} tells why"
        yield Check(name, "warn", f"systemd has restarted it {state['NRestarts']} times", mend)
    yield from check_file(host, service)


def check_file(host: Host, service: str) -> Iterator[Check]:
    """Look whether a unit's file is what this version of us would write."""
    path, name = host.unit(service), f"unit {service}"
    if not path.exists():
        return  # an operator's own
    text = path.read_text()
    if not is_untouched(text):
        mend = f"move what was changed to a drop-in (systemctl edit {path.name}), remove the file, {INSTALL}"
        yield Check(name, "warn", f"{str(path)!r} was edited: upgrades leave it as it is", mend)
        return
    # the file's own: a drop-in may say another one, and is the operator's
    settings = Settings(interpreter(), host.account() or "postgres", memory(host))
    if text != render(path.name, settings):
        mend = f"{INSTALL} with the version that is to run, then systemctl restart {path.name}"
        yield Check(name, "warn", f"{str(path)!r} belongs to another version, or to other settings", mend)


def check_runtime(host: Host) -> Iterator[Check]:
    """Look at the runtime: its account, its memory, and whether it answers."""
    unit = SERVICES["runtime"]
    state = systemd.show(unit) if systemd.is_running() else {}
    try:
        account = runtime_account(host)
    except PgpredictError as error:
        mend = f"correct User=: 'systemctl cat {unit}' shows where it is, 'systemctl edit {unit}' changes it"
        yield Check("runtime", "fail", f"User= of the unit: {error.message}", mend)
        return
    owner = server_owner(server_dsn(host))
    if owner.name and owner.uid != account.uid:
        mend = f"pgpredict service install --account {owner.name}; systemctl restart {unit}"
        yield Check("runtime", "fail", f"it runs as {account.name!r}, and the server as {owner.name!r}", mend)
        return
    bound = state.get("MemoryMax", "")
    if bound.isdigit() and int(bound) < memory(host) + HEADROOM:
        mend = (
            f"{INSTALL} again, or lower PGPREDICT_MEMORY in {host.configuration / CONFIGURATION['runtime']}"
        )
        yield Check(
            "runtime", "warn", f"MemoryMax, {int(bound) >> 20} MB, is less than its models may need", mend
        )
    if os.geteuid() not in (0, account.uid):
        mend = "run this as root"
        yield Check("runtime", "warn", f"only root and {account.name!r} may ask the runtime how it is", mend)
        return
    try:
        with acting_as(account):
            client = RuntimeClient(DEFAULT_SOCKET, 5)
        with client:
            status = client.status()
    except PgpredictError as error:
        yield Check("runtime", "fail", error.message, f"systemctl restart {unit}")
        return
    yield Check("runtime", "ok", f"version {status['version']} answers on {DEFAULT_SOCKET!r}")


def server_dsn(host: Host) -> str:
    """Return how the runtime reaches the server, without its role."""
    known = conninfo_to_dict(environment(host).get("PGPREDICT_DSN") or "host=/run/postgresql")
    return make_conninfo(
        **{key: str(value) for key, value in known.items() if key in ("host", "port", "hostaddr")},
        dbname="postgres",
    )


def check_server(host: Host) -> Iterator[Check]:
    """Look at the server of this host and at each of its databases that has the extension."""
    dsn = server_dsn(host)
    account = server_owner(dsn)
    if not account.name:
        mend = "systemctl start postgresql; or correct PGPREDICT_DSN in /etc/pgpredict/runtime.env"
        yield Check("server", "fail", f"no server listens where the runtime looks for it: {dsn!r}", mend)
        return
    if not account.switch and os.geteuid() != account.uid:
        yield Check("server", "warn", "only root sees into all databases", "run this as root")
        return
    with connect_as_owner(dsn, autocommit=True) as connection:
        version = connection.info.parameter_status("server_version")
        yield Check("server", "ok", f"PostgreSQL {version}, account {account.name!r}")
        if connection.execute(query("runtime_role"), (RUNTIME_ROLE,)).fetchone() != (True,):
            mend = "run 'pgpredict install' for a database of it"
            yield Check("role", "fail", f"the role {RUNTIME_ROLE!r} is missing or may not log in", mend)
            return
        yield from check_access(connection, host)
        yield from check_settings(connection)
        directory = connection.execute("SELECT current_setting('data_directory')").fetchone()
        if directory:
            mend = "make room; until then nothing can be trained or deployed, but everything predicts"
            yield from check_disk(Path(directory[0]), mend)
        names = connection.execute(query("databases")).fetchall()
    for (name,) in names:
        with connect_as_owner(make_conninfo(dsn, dbname=name), autocommit=True) as connection:
            yield from check_database(
                connection,
                f"run 'pgpredict install \"{make_conninfo(dsn, dbname=name)}\"', then restart both services",
                "journalctl -u pgpredict-runtime, and the server's log",
                required=False,
            )


def check_access(connection: psycopg.Connection, host: Host) -> Iterator[Check]:
    """Look whether the server lets the runtime in, as the runtime would come."""
    try:
        problem = refusal(host)
    except (PgpredictError, OSError, KeyError) as error:
        said = error.message if isinstance(error, PgpredictError) else str(error)
        mend = "run the pgpredict that the services run: 'systemctl cat pgpredict-runtime' names its Python"
        yield Check("access", "warn", f"whether the runtime may log in cannot be tried: {said}", mend)
        return
    if problem:
        row = connection.execute("SELECT current_setting('hba_file')").fetchone()
        place = row[0] if row else "pg_hba.conf"
        line = f"local all {RUNTIME_ROLE} peer map=pgpredict"
        mend = f"{place}, before other lines: {line}; then reload the server (docs/operate.md)"
        yield Check("access", "fail", f"the runtime cannot log in: {problem}", mend)
        return
    yield Check("access", "ok", "the runtime may log in")


def refusal(host: Host) -> str:
    """Return why the server does not let the runtime in, empty if it does.

    It is tried by a process that has all ids of the runtime's account, its home, and the variables of
    ``runtime.env`` instead of ours: any of them may tell libpq a password.

    :raises ServerError: if there is no such account, or it cannot use our packages
    :raises OSError: if it cannot use our interpreter
    """
    account = runtime_account(host)
    given = {"PGPREDICT_DSN": DEFAULT_DSN, "HOME": pwd.getpwuid(account.uid).pw_dir, "LC_ALL": "C.UTF-8"}
    command: list[str | Path] = [interpreter(), "-P", "-c", _LOG_IN]
    return run(command, env={**given, **environment(host)}, account=account, timeout=60).strip()


def runtime_account(host: Host) -> Account:
    """Return the account that the runtime runs under.

    :raises ServerError: if there is none of its name
    """
    state = systemd.show(SERVICES["runtime"]) if systemd.is_running() else {}
    return find_account(state.get("User") or host.account() or "postgres")


def check_proxy(host: Host) -> Iterator[Check]:
    """Look at the proxy's settings, and whether the server answers through it."""
    path = host.configuration / CONFIGURATION["proxy"]
    try:
        settings = make_settings({}, path)
    except PgpredictError as error:
        mend = f"correct {str(path)!r}, then systemctl reload {SERVICES['proxy']}"
        yield Check("proxy", "fail", error.message, mend)
        return
    mend = f"systemctl restart {SERVICES['proxy']}; journalctl -u {SERVICES['proxy']} tells why"
    told = health(*reachable(settings.http)) if settings.http else None
    if told is not None and told.problem:
        yield Check("proxy", "fail", f"the proxy is not well: {told.problem}", mend)
        return
    name, port = reachable(settings.addresses[0])
    if answers(name, port):
        yield Check("proxy", "ok", f"it answers at {name}, port {port}")
    else:
        yield Check("proxy", "fail", f"the proxy does not answer at {name}, port {port}", mend)
