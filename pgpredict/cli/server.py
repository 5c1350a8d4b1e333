"""Commands of the local server: up, down, status, psql, doctor; and install, for any other server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import rich_click as click
from rich.markup import escape
from rich.table import Table

from pgpredict.connection import connect_as_owner
from pgpredict.doctor import examine
from pgpredict.server import Home
from pgpredict.server.checks import Check
from pgpredict.server.cluster import DATABASE, SUPERUSER
from pgpredict.server.foreign import DEFAULT_SOCKET, Installed, install_into
from pgpredict.server.local import down as bring_down
from pgpredict.server.local import running_cluster
from pgpredict.server.local import up as bring_up
from pgpredict.server.overview import overview
from pgpredict.server.proxy import proxy_port, proxy_process

from .console import make_console
from .examples import examples
from .progress import showing_progress
from .runtime import show as show_runtime

console = make_console()
MARKS = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def print_json(value: Any) -> None:
    """Print a value as JSON to standard output."""
    click.echo(json.dumps(value, indent=2, default=str))


def print_pairs(pairs: list[tuple[str, str]]) -> None:
    """Print names and values in two columns; values are kept whole, to be copied."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        console.print(f"[bold]{name:<{width}}[/]  {escape(value)}", highlight=False, soft_wrap=True)


@click.command(epilog=examples("pgpredict up", "pgpredict up --json | jq -r .server.dsn"))
@click.option("--restart", is_flag=True, help="Stop the server and the runtime first.")
@json_option
def up(restart: bool, as_json: bool) -> None:
    """Start the local server, the inference runtime and the proxy.

    Finds a PostgreSQL with Multicorn, or fetches a private one; makes the database at the first time.
    What runs already is left alone. Data is under $PGPREDICT_HOME.
    """
    home = Home.default()
    with showing_progress() as progress:
        started = bring_up(home, progress, restart=restart)
    state = overview(home)
    if as_json:
        print_json(state)
        return
    server = state["server"]
    print_pairs(
        [
            (
                "server",
                f"PostgreSQL {server['version']} with Multicorn {server['multicorn']}, port {server['port']}",
            ),
            ("runtime", runtime_line(state["runtime"])),
            ("proxy", proxy_line(state["proxy"])),
            ("data", server["data"]),
            ("connect", state["proxy"]["dsn"]),
            ("over TCP", f"{state['proxy']['tcp_dsn']} (password in {server['password_file']})"),
            ("directly", f"{server['dsn']}, where PREDICT is not known"),
        ]
    )
    if started.newer is not None:
        note = f"PostgreSQL {started.newer.version} is here too; the data stays with {server['version']}"
        console.print(f"[yellow]note[/]: {note}", highlight=False)


def runtime_line(runtime: dict[str, Any]) -> str:
    """Describe the runtime in one line."""
    if runtime.get("error"):
        return f"process {runtime['pid']} does not answer: {runtime['error']}"
    return f"process {runtime['pid']}" if runtime["pid"] else "does not run"


def proxy_line(proxy: dict[str, Any]) -> str:
    """Describe the proxy in one line."""
    return f"process {proxy['pid']}, port {proxy['port']}" if proxy["pid"] else "does not run"


@click.command(epilog=examples("pgpredict down"))
def down() -> None:
    """Stop the local server, the inference runtime and the proxy. The data stays."""
    with showing_progress() as progress:
        stopped = bring_down(Home.default(), progress)
    console.print("stopped" if stopped else "nothing was running")


@click.command(epilog=examples("pgpredict status", "pgpredict status --json | jq .runtime"))
@json_option
def status(as_json: bool) -> None:
    """Show the server, its databases and models, and what the runtime does.

    Exit code 1 if the server, the runtime or the proxy does not run.
    """
    state = overview(Home.default())
    if as_json:
        print_json(state)
    else:
        print_status(state)
    runtime = state["runtime"] or {}
    proxy = state["proxy"] or {}
    if not state["running"] or not runtime.get("pid") or runtime.get("error") or not proxy.get("pid"):
        sys.exit(1)


def print_status(state: dict[str, Any]) -> None:
    """Print the overview for people."""
    server = state["server"]
    if server is None:
        console.print(f"no local server yet in {state['home']}: run [bold]pgpredict up[/]")
        return
    kind = "private " if server["private"] else ""
    process = f"process {server['pid']}, port {server['port']}" if server["pid"] else "does not run"
    python = f"Multicorn {server['multicorn']}, Python {server['python']}"
    pairs = [
        ("server", f"{kind}PostgreSQL {server['version']} ({python}), {process}, as {server['account']}"),
        ("data", server["data"]),
        ("connect", state["proxy"]["dsn"] if state["proxy"]["pid"] else server["dsn"]),
        ("proxy", proxy_line(state["proxy"])),
        ("runtime", runtime_line(state["runtime"])),
    ]
    print_pairs(pairs)
    if state["runtime"].get("ok"):
        show_runtime(state["runtime"], as_json=False)
    for database in state["databases"]:
        if database.get("models"):
            console.print(models_table(database))
        else:
            note = database.get("error") or ("no models" if database["extension"] else "without pgpredict")
            console.print(f"[bold]database[/] {escape(database['name'])}: {escape(note)}", highlight=False)


def models_table(database: dict[str, Any]) -> Table:
    """Return the table of a database's models."""
    table = Table(
        "model", "task", "deployed", "versions", title=f"database {database['name']}", title_justify="left"
    )
    for model in database["models"]:
        deployed = "-" if model["deployed"] is None else f"version {model['deployed']}"
        table.add_row(model["name"], model["task"], deployed, str(model["versions"]))
    return table


@click.command(
    epilog=examples(
        "pgpredict psql", "pgpredict psql -c 'SELECT * FROM ml.models'", "pgpredict psql -d other -f file.sql"
    ),
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open the server's own psql on the local server; ARGUMENTS are passed on to it.

    It goes through the proxy, so that PREDICT is known.
    """
    cluster = running_cluster(Home.default())
    program, environment = cluster.psql_command()
    through = proxy_process(cluster) is not None
    if not through:
        click.echo("the proxy does not run, so PREDICT is not known here; pgpredict up starts it", err=True)
    host, port = str(cluster.home.run), str(proxy_port(cluster) if through else cluster.port)
    environment |= {"PGHOST": host, "PGPORT": port, "PGUSER": SUPERUSER, "PGDATABASE": DATABASE}
    # an address or a service of the user's would lead to another server
    for name in ("PGHOSTADDR", "PGSERVICE"):
        environment.pop(name, None)
    sys.stdout.flush()
    os.execve(program, ["psql", *arguments], environment)  # noqa: S606 - a program that we found, no shell


@click.command(
    epilog=examples(
        "pgpredict doctor",
        """pgpredict doctor --json | jq '.[] | select(.state == "fail")'""",
        "pgpredict doctor --dsn 'host=db.internal dbname=shop user=postgres'",
    )
)
@click.option("--dsn", help="A server to look at as well, wherever it runs; as a superuser.")
@json_option
def doctor(dsn: str | None, as_json: bool) -> None:
    """Check everything that predictions need, and say how to mend what is wrong.

    Looks at what it finds: the local server, services of this host under systemd, the inside of a container.
    Server, Multicorn, Pythons, versions, permissions, disk, units, the runtime, artifacts against their
    hashes, and one live prediction of each deployed model. Exit code 1 if something is wrong.
    """
    checks: list[Check] = []
    for check in examine(Home.default(), dsn):
        checks.append(check)
        if not as_json:
            print_check(check)
    if as_json:
        print_json([check.to_json() for check in checks])
    failed = sum(check.state == "fail" for check in checks)
    if not as_json:
        console.print(
            f"[red]{failed} of {len(checks)} checks failed[/]" if failed else "[green]all is well[/]"
        )
    sys.exit(1 if failed else 0)


def print_check(check: Check) -> None:
    """Print one line of the report, and how to mend it."""
    line = f"{MARKS[check.state]} [bold]{escape(check.name)}[/]: {escape(check.message)}"
    console.print(line, highlight=False, soft_wrap=True)
    if check.mend:
        console.print(f"       [dim]→[/] {escape(check.mend)}", highlight=False, soft_wrap=True)


@click.command(
    epilog=examples(
        "pgpredict install 'host=/run/postgresql dbname=shop user=postgres'",
        "pgpredict install postgresql://postgres@localhost/shop --socket /srv/pgpredict/runtime.sock",
    )
)
@click.argument("dsn")
@click.option("--socket", default=DEFAULT_SOCKET, show_default=True, help="Where the runtime will listen.")
def install(dsn: str, socket: str) -> None:
    """Install pgpredict into the database DSN of a server of yours.

    Needs a superuser and Multicorn. What cannot be done from here is said precisely; then run it again.
    Root connects over the server's unix socket as the server's account.
    """
    if not socket.startswith("/") or len(os.fsencode(socket)) > 107:
        raise click.UsageError(f"--socket {socket!r} is not an absolute path of at most 107 bytes")
    with connect_as_owner(dsn) as connection:
        result = install_into(connection, socket)
        place = f"host={connection.info.host} port={connection.info.port} user=pgpredict_runtime"
    for line in result.done:
        console.print(f"[green]✓[/] {escape(line)}", highlight=False, soft_wrap=True)
    console.print(next_steps(result, socket, place), markup=False, highlight=False, soft_wrap=True)


def next_steps(result: Installed, socket: str, place: str) -> str:
    """Return what is left to do on the server's machine.

    :param socket: where the runtime will listen
    :param place: connection string of the runtime
    """
    account = result.owner or "ACCOUNT"
    access = f"""
Let the runtime in, which is the server's account, as the role pgpredict_runtime, and reload the server:
  {result.ident_file}:  pgpredict {account} pgpredict_runtime
  {result.hba_file}, before other lines:  local all pgpredict_runtime peer map=pgpredict
Start the runtime on the server's machine, as {account}:
"""
    if socket == DEFAULT_SOCKET:
        access += "  pgpredict service install          # with the proxy, under systemd; or by hand\n"
    return access + (
        f"  install -d -m 0700 -o {account} {Path(socket).parent}\n"
        f"  runuser -u {account} -- pgpredict runtime --socket {socket} --dsn '{place}'"
    )
