"""PostgreSQL installations that have Multicorn."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pgpredict.errors import ServerError

from .account import run

#: where installations keep ``pg_config``; PATH is searched as well
PG_CONFIG_PATTERNS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin")


@dataclass(frozen=True)
class ServerInstall:
    """A PostgreSQL with Multicorn, the machine's own or the private one.

    Paths are those that its ``pg_config`` reports.

    :param version: such as ``15.14``
    :param root: directory that the private server was unpacked into, None for the machine's own
    """

    version: str
    bindir: Path
    sharedir: Path
    pkglibdir: Path
    root: Path | None = None
    libraries: tuple[Path, ...] = field(default=())

    @property
    def major(self) -> int:
        """Major version."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]

    @property
    def private(self) -> bool:
        """Whether it is the private server."""
        return self.root is not None

    @property
    def name(self) -> str:
        """Short name, as in ``pg15`` and ``pg13``."""
        return f"pg{self.major}"

    @property
    def fetched(self) -> bool:
        """Whether its files are on this machine."""
        return (self.bindir / "postgres").exists()

    @property
    def environment(self) -> dict[str, str]:
        """What its own programs need in their environment: libraries and Python of the private server."""
        if self.root is None:
            return {}
        return {
            "LD_LIBRARY_PATH": ":".join(str(path) for path in self.libraries),
            "PYTHONHOME": str(self.root / "usr"),
        }

    @property
    def python_path(self) -> list[Path]:
        """Directories that its Python does not search by itself."""
        return [] if self.root is None else [self.root / "usr/lib/python3/dist-packages"]

    def to_json(self) -> dict[str, Any]:
        """Return what has to be remembered of it."""
        return {
            "version": self.version,
            "bindir": str(self.bindir),
            "sharedir": str(self.sharedir),
            "pkglibdir": str(self.pkglibdir),
            "root": None if self.root is None else str(self.root),
            "libraries": [str(path) for path in self.libraries],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ServerInstall:
        """Return a server that was remembered."""
        root = value["root"]
        return cls(
            value["version"],
            Path(value["bindir"]),
            Path(value["sharedir"]),
            Path(value["pkglibdir"]),
            None if root is None else Path(root),
            tuple(Path(path) for path in value["libraries"]),
        )

    @cached_property
    def multicorn_version(self) -> str:
        """Version of Multicorn, such as ``3.2``; empty if unknown."""
        try:
            text = (self.sharedir / "extension/multicorn.control").read_text()
        except OSError:
            return ""
        match = re.search(r"default_version\s*=\s*'([^']+)'", text)
        return match[1] if match else ""

    @cached_property
    def python_version(self) -> str:
        """Version of the Python inside the server, such as ``3.11``; empty if unknown."""
        try:
            text = run(["ldd", self.pkglibdir / "multicorn.so"], env={**os.environ, **self.environment})
        except ServerError:
            return ""
        match = re.search(r"libpython(3\.\d+)", text)
        return match[1] if match else ""

    @property
    def python(self) -> Path | None:
        """An interpreter of the version inside the server, if there is one."""
        if not self.python_version:
            return None
        if self.root is not None:
            return self.root / "usr/bin" / f"python{self.python_version}"
        found = shutil.which(f"python{self.python_version}", path="/usr/local/bin:/usr/bin:/bin")
        return Path(found) if found else None


def find_system_servers(root: Path = Path("/")) -> list[ServerInstall]:
    """Return the machine's own servers that have Multicorn, the highest version first.

    :param root: where to look for the usual directories
    """
    candidates = [path / "pg_config" for pattern in PG_CONFIG_PATTERNS for path in root.glob(pattern)]
    candidates += [Path(part) / "pg_config" for part in os.environ.get("PATH", "").split(":") if part]
    found: dict[Path, ServerInstall] = {}
    for candidate in candidates:
        if not os.access(candidate, os.X_OK):
            continue
        try:
            install = read_pg_config(candidate)
        except (ServerError, ValueError):
            continue  # a broken installation is none of ours to report; doctor lists what was found
        if (install.sharedir / "extension/multicorn.control").exists() and install.fetched:
            found.setdefault(install.bindir.resolve(), install)
    return sorted(found.values(), key=lambda install: _numbers(install.version), reverse=True)


def read_pg_config(pg_config: Path, env: dict[str, str] | None = None) -> ServerInstall:
    """Return the installation that a ``pg_config`` describes.

    :raises ServerError: if it does not run
    :raises ValueError: if its answer is none
    """
    options = ["--version", "--bindir", "--sharedir", "--pkglibdir"]
    environment = None if env is None else {**os.environ, **env}
    version, bindir, sharedir, pkglibdir = run(
        [pg_config, *options], env=environment, timeout=30
    ).splitlines()
    match = re.match(r"PostgreSQL (\d+\S*)", version)
    if match is None:
        raise ValueError(f"{version!r} is no version of PostgreSQL")
    return ServerInstall(match[1], Path(bindir), Path(sharedir), Path(pkglibdir))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
