"""Services put into a host and taken out of it, without touching what its operator has changed.

Unit files of ours are in ``/usr/local/lib/systemd/system``: what an operator puts beside them with
``systemctl edit``, or in their place with ``--full``, is in ``/etc/systemd/system`` and comes first. Settings
are in ``/etc/pgpredict``; they are written once and are the operator's from then on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pgpredict.errors import InvalidInput, ServerError
from pgpredict.runtime.settings import parse_size
from pgpredict.server.account import run
from pgpredict.server.home import write_atomically

from . import systemd
from .environment import parse_environment
from .units import SERVICES, Settings, is_untouched, render, template

CONFIGURATION = {"runtime": "runtime.env", "proxy": "proxy.toml"}
DEFAULT_MEMORY = "2GB"
#: bytes; a forest alone takes more, and who writes ``4`` means gigabytes
LEAST_MEMORY = 16 << 20


@dataclass(frozen=True)
class Host:
    """Where files go.

    :param root: of the file system
    """

    root: Path = Path("/")

    @property
    def units(self) -> Path:
        """Directory of our unit files."""
        return self.root / "usr/local/lib/systemd/system"

    @property
    def overrides(self) -> Path:
        """Directory of the operator's unit files."""
        return self.root / "etc/systemd/system"

    @property
    def configuration(self) -> Path:
        """Directory of settings."""
        return self.root / "etc/pgpredict"

    @property
    def accounts(self) -> Path:
        """File that says which account the proxy has."""
        return self.root / "usr/local/lib/sysusers.d/pgpredict.conf"

    def unit(self, service: str) -> Path:
        """Return the path of a service's unit file."""
        return self.units / SERVICES[service]

    def account(self) -> str:
        """Return the account that our unit file of the runtime names; empty if there is none."""
        path = self.unit("runtime")
        found = re.search(r"^User=(.+)$", path.read_text(), re.MULTILINE) if path.exists() else None
        return found[1] if found else ""

    def installed(self) -> list[str]:
        """Return the services whose unit files are there, ours or an operator's own."""
        return [
            service
            for service, name in SERVICES.items()
            if any((directory / name).exists() for directory in (self.units, self.overrides))
        ]


@dataclass
class Changes:
    """What was done.

    :ivar written: files
    :ivar restart: units that run as they were before
    :ivar notes: what the operator should know
    """

    written: list[Path] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def files(host: Host, services: Sequence[str], settings: Settings) -> dict[Path, str]:
    """Return path and text of everything that an installation consists of."""
    found = {host.unit(service): render(SERVICES[service], settings) for service in services}
    if "proxy" in services:
        found[host.accounts] = template("sysusers.conf")
    for service in services:
        found[host.configuration / CONFIGURATION[service]] = template(CONFIGURATION[service])
    return found


def environment(host: Host) -> dict[str, str]:
    """Return the variables of ``runtime.env`` as systemd reads it; empty if there is no such file.

    :raises InvalidInput: if it cannot be read
    """
    path = host.configuration / CONFIGURATION["runtime"]
    try:
        return parse_environment(path.read_bytes().decode())
    except FileNotFoundError:
        return {}
    except InvalidInput as error:
        raise InvalidInput(f"{str(path)!r}: {error.message}", hint=error.hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {str(path)!r}: {error}") from error


def memory(host: Host) -> int:
    """Return the bound on loaded models that ``runtime.env`` sets, in bytes.

    :raises InvalidInput: if it is no size, or one that no model fits in
    """
    text = environment(host).get("PGPREDICT_MEMORY") or DEFAULT_MEMORY
    path = host.configuration / CONFIGURATION["runtime"]
    try:
        size = parse_size(text)
    except InvalidInput as error:
        raise InvalidInput(
            f"PGPREDICT_MEMORY in {str(path)!r} is {text!r}, which is no size",
            hint="write it as 512MB or 2GB, with comments on lines of their own",
        ) from error
    if size < LEAST_MEMORY:
        raise InvalidInput(
            f"PGPREDICT_MEMORY in {str(path)!r} is {text!r}, which is less than {LEAST_MEMORY >> 20}MB",
            hint="write it with its unit, as 512MB or 2GB",
        )
    return size


def install(host: Host, services: Sequence[str], settings: Settings, *, start: bool = True) -> Changes:
    """Write the files of services, make the proxy's account, enable the services and start them.

    Done again it changes nothing, or what another version of us, or another size in ``runtime.env``, asks
    for.

    :raises ServerError: without root or systemd, or if a unit file of ours was edited in its place
    """
    check_rights("installing")
    changes = write(host, services, settings)
    if "proxy" in services:
        run(["systemd-sysusers", host.accounts])
    units = [SERVICES[service] for service in services]
    systemd.systemctl("daemon-reload")
    changed = {path.name for path in changes.written}
    changes.restart = [
        unit for unit in units if unit in changed and systemd.show(unit)["ActiveState"] == "active"
    ]
    systemd.systemctl("enable", *units)
    if start:
        for unit in units:
            begin(unit)
    return changes


def begin(unit: str) -> None:
    """Start a unit unless it runs; one that systemd has given up as well.

    :raises ServerError: if it does not come up, with its last words
    """
    forgive(unit)
    try:
        systemd.systemctl("start", unit)
    except ServerError as error:
        said = systemd.last_lines(unit).strip()
        raise ServerError(
            f"{unit} does not start: {said or error.message}",
            hint=f"journalctl -u {unit} tells more; 'pgpredict service install' may be run again",
        ) from error


def forgive(unit: str) -> None:
    """Have systemd forget that a unit has failed: it lists it as long as it knows, and may not start it."""
    if systemd.show(unit)["ActiveState"] == "failed":
        systemd.systemctl("reset-failed", unit)


def write(host: Host, services: Sequence[str], settings: Settings) -> Changes:
    """Write what is missing or has to change; all of it, or nothing if an operator's edit is in the way.

    :raises ServerError: if a unit file of ours was edited in its place
    """
    changes = Changes()
    wanted = files(host, services, settings)
    for path in wanted:
        if path.parent == host.units and path.exists() and not is_untouched(path.read_text()):
            raise ServerError(
                f"{str(path)!r} was edited, and is left as it is",
                hint=f"move what you changed to a drop-in ('systemctl edit {path.name}'), remove the file, "
                "and run this again",
            )
    for path, text in wanted.items():
        if path.exists() and (path.parent == host.configuration or path.read_text() == text):
            continue
        make_directories(path.parent)
        write_atomically(path, text)
        changes.written.append(path)
    changes.notes += [
        f"{host.overrides / SERVICES[service]} comes before our unit file"
        for service in services
        if (host.overrides / SERVICES[service]).exists()
    ]
    return changes


def make_directories(path: Path) -> None:
    """Make a directory, and those above it, that every account may read, whatever our umask.

    Those that are there stay as they are.
    """
    for directory in reversed((path, *path.parents)):
        if not directory.exists():
            directory.mkdir()
            directory.chmod(0o755)


def uninstall(host: Host, services: Sequence[str]) -> Changes:
    """Stop and disable services, and remove their unit files; settings and drop-ins stay.

    :returns: ``written`` is what was removed
    :raises ServerError: without root or systemd, or if a unit file of ours was edited in its place
    """
    check_rights("removing")
    there = [service for service in services if host.unit(service).exists()]
    for service in there:
        if not is_untouched(host.unit(service).read_text()):
            raise ServerError(
                f"{str(host.unit(service))!r} was edited, and is left as it is", hint="remove it yourself"
            )
    changes = Changes()
    for service in there:
        systemd.systemctl("disable", "--now", SERVICES[service])
        forgive(SERVICES[service])
        host.unit(service).unlink()
        changes.written.append(host.unit(service))
    if there:
        systemd.systemctl("daemon-reload")
    if "proxy" in there:
        host.accounts.unlink(missing_ok=True)
        changes.notes.append("the account 'pgpredict' stays: files may belong to it")
    if there:
        changes.notes.append(f"settings in {host.configuration} and drop-ins stay")
    return changes


def check_rights(action: str) -> None:
    """Refuse what takes root and systemd.

    :raises ServerError: without one of them
    """
    if os.geteuid() != 0:
        raise ServerError(
            f"{action} services takes root",
            hint="'pgpredict service install --print' shows what would be written; a server of your own "
            "account has 'pgpredict up'",
        )
    if not systemd.is_running():
        raise ServerError(
            "systemd does not run this machine",
            hint="have whatever does run it start 'pgpredict runtime' and 'pgpredict proxy', as "
            "'pgpredict service install --print' shows; in containers see docker/",
        )
