"""The data directory is one container's, and in a place where that can be told."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from .errors import Refused


def hold(data: Path) -> None:
    """Take the data directory for this container, until the last of its processes has ended.

    PostgreSQL's own lock file says nothing to a server in another container, which has other process ids.

    :raises Refused: if another container has it, it is a mount of its own, or it cannot be written to
    """
    if is_mount(data):
        # the lock lies beside it, where another container would not see it, and a first start renames
        raise Refused(
            f"a volume is mounted at {str(data)!r}, the data directory itself",
            hint="mount it above: at /var/lib/postgresql; data that is in it goes into a directory there",
        )
    place = data.parent
    hint = f"mount a volume that the uid {os.getuid()} may write to: chown {os.getuid()}:{os.getgid()}"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(place / f"{data.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Refused(f"cannot write to {str(place)!r}: {error.strerror}", hint=hint) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Refused(
            f"another container has the data in {str(data)!r}", hint="stop that one first"
        ) from error
    # the server inherits it, and its children: a new server waits for the backends of one that was killed
    os.set_inheritable(descriptor, True)
    _expect_ours(data)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _expect_ours(data: Path) -> None:
    """Refuse a directory that another account has made, which PostgreSQL would refuse too."""
    try:
        owner = data.stat().st_uid
    except FileNotFoundError:
        return
    if not data.is_dir():
        raise Refused(f"{str(data)!r} is no directory", hint="move it away")
    try:
        used = any(data.iterdir())
    except PermissionError:
        used = True
    if used and owner != os.getuid():
        raise Refused(
            f"{str(data)!r} belongs to the uid {owner}, and this container's is {os.getuid()}",
            hint=f"chown -R {os.getuid()}:{os.getgid()} on the volume",
        )


def is_mount(path: Path) -> bool:
    """Tell whether something is mounted at a path, of the file system that is around it too."""
    fields = [line.split(b" ") for line in Path("/proc/self/mountinfo").read_bytes().splitlines()]
    places = {re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), field[4]) for field in fields}
    return os.path.realpath(os.fsencode(path)) in places
