"""``pgpredict service``: the runtime and the proxy as services of this host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import rich_click as click
from rich.markup import escape

from pgpredict.errors import ServerError
from pgpredict.server.daemon import interpreter
from pgpredict.service import SERVICES, Host, Settings, systemd
from pgpredict.service import install as install_services
from pgpredict.service import uninstall as uninstall_services
from pgpredict.service.host import Changes, check_rights, files, memory
from pgpredict.service.surroundings import find_account, server_account_name, usable_interpreter

from .console import make_console
from .examples import examples
from .server import json_option, print_json, print_pairs

console = make_console()

services_argument = click.argument("services", nargs=-1, type=click.Choice(list(SERVICES)))


@click.group(
    epilog=examples(
        "pgpredict service install", "pgpredict service status", "pgpredict service install --print"
    )
)
def service() -> None:
    """Run the runtime and the proxy as services of this host, under systemd.

    For a PostgreSQL of your own; the local server of 'pgpredict up' needs none of this.
    """


@service.command(
    epilog=examples(
        "pgpredict service install",
        "pgpredict service install proxy",
        "pgpredict service install --print runtime",
    )
)
@services_argument
@click.option("--account", help="Account that the PostgreSQL server runs under.  [default: found]")
@click.option("--print", "only_print", is_flag=True, help="Print what would be written, and write nothing.")
@click.option("--start/--no-start", default=True, show_default=True, help="Start them as well.")
def install(services: tuple[str, ...], account: str | None, only_print: bool, start: bool) -> None:
    """Install and start SERVICES: runtime, proxy, by default both.

    Files that exist in /etc/pgpredict stay as they are, and so do drop-ins. Run it again after an upgrade,
    or after a change of PGPREDICT_MEMORY in runtime.env.
    """
    chosen, host = list(services or SERVICES), Host()
    if not only_print:
        check_rights("installing")
    name = account or (server_account(host) if "runtime" in chosen else "postgres")
    if only_print:
        settings = Settings(interpreter(), name, memory(host))
        for path, text in files(host, chosen, settings).items():
            click.echo(f"# {path}\n{text}")
        return
    users = [find_account(name)] if "runtime" in chosen else []
    # the proxy's account may be about to be made; it is as ordinary as nobody
    users += [find_account("nobody")] if "proxy" in chosen else []
    settings = Settings(usable_interpreter(*users), name, memory(host))
    changes = install_services(host, chosen, settings, start=start)
    for path in changes.written:
        console.print(f"[green]✓[/] wrote {escape(str(path))}", highlight=False, soft_wrap=True)
    report(changes)
    for unit in (SERVICES[service] for service in chosen):
        state = systemd.show(unit)
        console.print(
            f"[green]✓[/] {unit}: {state['ActiveState']} ({state['SubState']}), {state['UnitFileState']}",
            highlight=False,
        )


def server_account(host: Host) -> str:
    """Return the account of the runtime that is installed, else the one that the server has here."""
    return host.account() or server_account_name()


def report(changes: Changes) -> None:
    """Print what the operator should know and do."""
    for note in changes.notes:
        console.print(f"[yellow]note[/]: {escape(note)}", highlight=False, soft_wrap=True)
    for unit in changes.restart:
        command = f"systemctl restart {unit.removesuffix('.service')}"
        console.print(f"[yellow]note[/]: {unit} runs as it was before: {command}", highlight=False)


@service.command(epilog=examples("pgpredict service uninstall", "pgpredict service uninstall proxy"))
@services_argument
def uninstall(services: tuple[str, ...]) -> None:
    """Stop SERVICES and remove their unit files. Settings and drop-ins stay."""
    changes = uninstall_services(Host(), list(services or SERVICES))
    for path in changes.written:
        console.print(f"[green]✓[/] removed {escape(str(path))}", highlight=False, soft_wrap=True)
    report(changes)
    if not changes.written:
        console.print("nothing was installed")


@service.command(epilog=examples("pgpredict service status", "pgpredict service status --json"))
@json_option
def status(as_json: bool) -> None:
    """Show what systemd knows of the services. Exit code 1 if one that is installed does not run."""
    if not systemd.is_running():
        raise ServerError(
            "systemd does not run this machine", hint="'pgpredict status' shows the local server"
        )
    host = Host()
    states = {name: systemd.show(unit) for name, unit in SERVICES.items()}
    if as_json:
        print_json(states)
    else:
        print_pairs([(name, describe(state)) for name, state in states.items()])
    sys.exit(any(states[name]["ActiveState"] != "active" for name in host.installed()))


def describe(state: dict[str, Any]) -> str:
    """Describe a unit in one line."""
    if state["LoadState"] != "loaded":
        return "not installed"
    parts = [f"{state['ActiveState']} ({state['SubState']})", state["UnitFileState"]]
    if state["MainPID"] != "0":
        parts.append(f"process {state['MainPID']} as {state['User']}")
    if state["MemoryCurrent"].isdigit():
        parts.append(f"{int(state['MemoryCurrent']) >> 20} MB")
    parts.append(f"restarted {state['NRestarts']} times")
    if state["DropInPaths"]:
        parts.append("drop-ins " + ", ".join(map(str, map(Path, state["DropInPaths"].split()))))
    return ", ".join(parts)
