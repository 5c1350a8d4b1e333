"""A container of the tests' own: a root file system, mounts, an account without rights.

Standard library only. What an engine such as Docker does, by the same means of the kernel, except for limits
of memory and a filter of system calls.

usage: python inside.py SPECIFICATION      as root, in new namespaces of mounts and processes
       python inside.py --network          brings the loopback device of a new network up and waits
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 38, 23, 24
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def main() -> None:
    """Become the container's first process."""
    if sys.argv[1] == "--network":
        bring_up_loopback()
        sys.stdout.write("up\n")
        sys.stdout.flush()
        sys.stdin.read()
        return
    specification = json.loads(Path(sys.argv[1]).read_text())
    libc = ctypes.CDLL(None, use_errno=True)
    root = mount_all(specification)
    os.chroot(root)
    os.chdir(specification["directory"])
    for capability in range(64):
        if libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(*[specification["gid"]] * 3)
    os.setresuid(*[specification["uid"]] * 3)
    if specification["no_new_privileges"] and libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    os.environ["PATH"] = specification["environment"]["PATH"]
    os.execvpe(specification["command"][0], specification["command"], specification["environment"])


def mount_all(specification: dict[str, Any]) -> Path:
    """Mount the root and all that goes into it."""
    root = Path(specification["bundle"]) / "root"
    root.mkdir(exist_ok=True)
    mount("--make-rprivate", "/")
    mount("--bind", specification["root"], root)
    mount("-t", "proc", "proc", root / "proc")
    mount("-t", "tmpfs", "-o", "mode=755,nosuid", "tmpfs", root / "dev")
    for name in _DEVICES:
        (root / "dev" / name).touch()
        mount("--bind", f"/dev/{name}", root / "dev" / name)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (root / "dev" / name).symlink_to(f"/proc/self/fd/{number}")
    (root / "dev/fd").symlink_to("/proc/self/fd")
    (root / "dev/shm").mkdir()
    options = f"mode=1777,nosuid,nodev,size={specification['shm_size']}"
    mount("-t", "tmpfs", "-o", options, "tmpfs", root / "dev/shm")
    for target in specification["tmpfs"]:
        mount("-t", "tmpfs", "-o", "mode=1777,nosuid,nodev,noexec", "tmpfs", made(root, target))
    for source, target, read_only in specification["binds"]:
        place = made(root, target, directory=Path(source).is_dir())
        mount("--bind", source, place)
        if read_only:
            mount("-o", "remount,bind,ro", place)
    if specification["read_only"]:
        mount("-o", "remount,bind,ro", root)
    return root


def made(root: Path, target: str, *, directory: bool = True) -> Path:
    """Return the place of a mount, which engines make if it is missing."""
    place = root / target.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if directory:
        place.mkdir(exist_ok=True)
    else:
        place.touch()
    return place


def mount(*words: str | Path) -> None:
    """Mount something."""
    subprocess.run(["mount", *map(str, words)], check=True)


def bring_up_loopback() -> None:
    """Switch the loopback device of this network on."""
    with socket.socket() as probe:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(probe, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


if __name__ == "__main__":
    main()
