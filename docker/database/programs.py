"""Write down where the image's PostgreSQL is, and make its programs callable; run when the image is made.

usage: python -m database.programs ROOT

ROOT is a directory that the private server was unpacked into, or where the PostgreSQL project's packages have
installed theirs.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from .server import DESCRIPTION

BIN = Path("/usr/local/bin")
LIBRARY = Path(__file__).resolve().parent.parent


def main() -> None:
    """Describe the server, and write the scripts that call its programs."""
    root = Path(sys.argv[1])
    description = installed(root) if (root / "bin/postgres").exists() else unpacked(root)
    DESCRIPTION.write_text(json.dumps(description, indent=2) + "\n")
    environment: Mapping[str, str] = description["environment"]  # type: ignore[assignment]
    libraries = {name: text for name, text in environment.items() if name == "LD_LIBRARY_PATH"}
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


def installed(root: Path) -> dict[str, object]:
    """Describe a server in a directory named after its version, such as ``/usr/pgsql-17``."""
    major = int(root.name.rpartition("-")[2])
    environment = {"PYTHONPATH": str(LIBRARY / "packages")}
    return {
        "major": major,
        "bindir": str(root / "bin"),
        "sharedir": str(root / "share"),
        "environment": environment,
    }


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
