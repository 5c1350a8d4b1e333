"""Write down where the image's PostgreSQL is, and make its programs callable; run when the image is made.

usage: python -m database.programs [ROOT]

ROOT is a directory that the private server was unpacked into; without it the one on the PATH is meant.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from .server import DESCRIPTION

BIN = Path("/usr/local/bin")
LIBRARY = Path(__file__).resolve().parent.parent


def main() -> None:
    """Describe the server, and write the scripts that call its programs."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    description = unpacked(root) if root is not None else installed()
    DESCRIPTION.write_text(json.dumps(description, indent=2) + "\n")
    environment: Mapping[str, str] = description["environment"]  # type: ignore[assignment]
    libraries = {name: text for name, text in environment.items() if name == "LD_LIBRARY_PATH"}
    if root is not None:
        for program in Path(str(description["bindir"])).iterdir():
            write_script(program.name, [str(program)], libraries)
    start = f"import sys; sys.path.insert(0, {str(LIBRARY)!r}); "
    start += "from database.entrypoint import main; main(sys.argv[1:])"
    write_script("pgpredict-database", [sys.executable, "-I", "-c", start], libraries)
    (BIN / "pgpredict-health").symlink_to(LIBRARY / "database/health")


def unpacked(root: Path) -> dict[str, object]:
    """Describe a server that was unpacked into a directory."""
    (bindir,) = root.glob("usr/lib/postgresql/*/bin")
    major = bindir.parent.name
    libraries = sorted([*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")])
    environment = {
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": str(root / "usr/lib/python3/dist-packages"),
    }
    sharedir = root / "usr/share/postgresql" / major
    return {"major": int(major), "bindir": str(bindir), "sharedir": str(sharedir), "environment": environment}


def installed() -> dict[str, object]:
    """Describe the server whose ``pg_config`` is on the PATH."""
    bindir, sharedir = _pg_config("--bindir", "--sharedir")
    major = next(_numbers(*_pg_config("--version")))
    return {"major": major, "bindir": bindir, "sharedir": sharedir, "environment": {}}


def _pg_config(*options: str) -> list[str]:
    return subprocess.run(
        ["pg_config", *options], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()


def _numbers(text: str) -> Iterator[int]:
    return (int(word) for word in text.replace(".", " ").split() if word.isdigit())


def write_script(name: str, command: list[str], environment: Mapping[str, str]) -> None:
    """Write a script into the PATH that runs a program with what it needs in its environment."""
    lines = [
        "#!/bin/sh",
        *(f"export {variable}={shlex.quote(text)}" for variable, text in environment.items()),
    ]
    script = BIN / name
    script.write_text("\n".join([*lines, f'exec {shlex.join(command)} "$@"']) + "\n")
    script.chmod(0o755)


if __name__ == "__main__":
    main()
