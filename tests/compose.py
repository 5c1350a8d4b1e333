"""Reads docker/compose.yaml as an engine does, as far as the file goes; what it does not know is an error.

So the tests run the services as the file describes them, and nothing in it is there for show.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.pages import ROOT

FILE = ROOT / "docker/compose.yaml"
TLS = ROOT / "docker/compose.tls.yaml"
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::-([^}]*))?\})")
#: lists that a further file adds to; others it replaces
_ADDED_TO = {"secrets", "volumes", "ports", "tmpfs"}
_KEYS = {
    *("image", "build", "command", "environment", "secrets", "volumes", "tmpfs", "networks", "ports"),
    *("depends_on", "profiles", "restart", "read_only", "cap_drop", "security_opt", "logging", "shm_size"),
    *("mem_limit", "cpus", "pids_limit", "stop_grace_period", "healthcheck"),
}
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclasses.dataclass(frozen=True)
class Health:
    """A health check.

    :param test: command
    :param interval: seconds between two
    :param timeout: seconds for one
    :param retries: failures in a row that make a service sick
    """

    test: tuple[str, ...]
    interval: float
    timeout: float
    retries: int


@dataclasses.dataclass(frozen=True)
class Volume:
    """What is mounted where.

    :param source: name of a volume, or a path of this machine
    """

    source: str
    target: str
    read_only: bool = False


@dataclasses.dataclass(frozen=True)
class Service:
    """A service, with everything filled in."""

    name: str
    image: str
    target: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    secrets: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    ports: tuple[tuple[str, int, int], ...] = ()
    depends_on: Mapping[str, str] = dataclasses.field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    restart: str = "no"
    read_only: bool = False
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    shm_size: int = 64 << 20
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    grace: float = 10
    health: Health | None = None


def read(*files: Path, environment: Mapping[str, str] | None = None) -> dict[str, Service]:
    """Return the services of a compose file and of those that are given behind it.

    :param environment: variables for the files, none by default
    """
    merged: dict[str, Any] = {}
    for path in files or (FILE,):
        merge(merged, load(path))
    filled = fill(merged, environment or {})
    secrets = {name: (FILE.parent / entry["file"]).resolve() for name, entry in filled["secrets"].items()}
    known = set(filled["volumes"]) | {"/"}
    return {
        name: service(name, entry, secrets, known, filled["networks"])
        for name, entry in filled["services"].items()
    }


def load(path: Path) -> dict[str, Any]:
    """Return a file's contents; anchors and merges are YAML's own."""
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Merge a file into the ones before."""
    for key, entry in other.items():
        if isinstance(entry, dict) and isinstance(into.get(key), dict):
            merge(into[key], entry)
        elif key in _ADDED_TO and isinstance(into.get(key), list):
            into[key] = [*into[key], *entry]
        else:
            into[key] = entry


def fill(value: Any, environment: Mapping[str, str]) -> Any:
    """Replace variables, in all texts of a file."""
    if isinstance(value, dict):
        return {key: fill(entry, environment) for key, entry in value.items()}
    if isinstance(value, list):
        return [fill(entry, environment) for entry in value]
    if isinstance(value, str):
        return _VARIABLE.sub(
            lambda match: "$" if match[1] is None else environment.get(match[1]) or match[2] or "", value
        )
    return value


def service(
    name: str,
    entry: dict[str, Any],
    secrets: Mapping[str, Path],
    volumes: set[str],
    networks: Mapping[str, Any],
) -> Service:
    """Return one service; what it names has to be there."""
    assert set(entry) <= _KEYS, f"{name}: {set(entry) - _KEYS} are unknown"
    assert set(entry["networks"]) <= set(networks), f"{name}: unknown networks"
    mounts = tuple(Volume(*text.split(":")) for text in entry.get("volumes", ()))
    assert {mount.source for mount in mounts} <= volumes, f"{name}: unknown volumes"
    security = entry.get("security_opt", [])
    assert set(security) <= {"no-new-privileges:true"}
    return Service(
        name,
        entry["image"],
        entry["build"]["target"],
        tuple(str(word) for word in entry.get("command", ())),
        {key: str(text) for key, text in entry.get("environment", {}).items()},
        {secret: secrets[secret] for secret in entry.get("secrets", ())},
        mounts,
        tuple(entry.get("tmpfs", ())),
        tuple(entry["networks"]),
        tuple(port(text) for text in entry.get("ports", ())),
        {key: condition["condition"] for key, condition in entry.get("depends_on", {}).items()},
        tuple(entry.get("profiles", ())),
        entry.get("restart", "no"),
        entry.get("read_only", False),
        tuple(entry.get("cap_drop", ())),
        bool(security),
        size(entry.get("shm_size", "64m")),
        size(entry["mem_limit"]) if "mem_limit" in entry else None,
        float(entry["cpus"]) if "cpus" in entry else None,
        entry.get("pids_limit"),
        seconds(entry.get("stop_grace_period", "10s")),
        health(entry.get("healthcheck")),
    )


def health(entry: dict[str, Any] | None) -> Health | None:
    """Return a health check."""
    if entry is None:
        return None
    assert set(entry) == {"test", "interval", "timeout", "start_period", "retries"}
    kind, *command = entry["test"]
    assert kind == "CMD"
    return Health(tuple(command), seconds(entry["interval"]), seconds(entry["timeout"]), entry["retries"])


def port(text: str) -> tuple[str, int, int]:
    """Return address, port of this machine, port of the container."""
    address, outer, inner = text.split(":")
    return address, int(outer), int(inner)


def seconds(text: str) -> float:
    """Return a duration of seconds."""
    assert re.fullmatch(r"\d+s", text), text
    return float(text[:-1])


def size(text: str) -> int:
    """Return a size in bytes."""
    match = re.fullmatch(r"(\d+)([kmg]?)", text)
    assert match, text
    return int(match[1]) * _UNITS[match[2]]
