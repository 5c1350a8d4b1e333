"""What is asked of systemd, by its own programs."""

from __future__ import annotations

from pathlib import Path

from pgpredict.errors import ServerError
from pgpredict.server.account import run

#: what ``show`` asks for
PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "FragmentPath",
    "DropInPaths",
    "NeedDaemonReload",
    "MainPID",
    "NRestarts",
    "Result",
    "StatusText",
    "User",
    "MemoryMax",
    "MemoryCurrent",
)


def is_running() -> bool:
    """Tell whether systemd runs this machine, as sd_booted(3) does."""
    return Path("/run/systemd/system").is_dir()


def systemctl(*words: str) -> str:
    """Run ``systemctl``.

    :raises ServerError: if it fails
    """
    return run(["systemctl", "--no-pager", "--no-ask-password", *words], timeout=120)


def show(unit: str) -> dict[str, str]:
    """Return properties of a unit; those of one that is not there have values too."""
    lines = systemctl("show", "--property", ",".join(PROPERTIES), unit).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def last_lines(unit: str, count: int = 8) -> str:
    """Return what a unit logged last, empty if that cannot be read."""
    try:
        return run(
            ["journalctl", "--no-pager", "--output", "cat", "--lines", str(count), "--unit", unit], timeout=30
        )
    except ServerError:
        return ""
