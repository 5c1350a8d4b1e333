"""What of this machine a service depends on: the server's account, and an interpreter that others can use."""

from __future__ import annotations

import importlib.util
import os
import pwd
import sys
from pathlib import Path

import psutil

from pgpredict.errors import ServerError
from pgpredict.server.account import Account, run
from pgpredict.server.daemon import interpreter

#: the units see nothing of these (ProtectHome, PrivateTmp)
HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108
ELSEWHERE = "install pgpredict where services find it: python3 -m venv /opt/pgpredict, docs/operate.md"
_NEEDED = "import numpy, onnxruntime, psycopg, uvloop, fdw, pgpredict.runtime.supervisor, pgpredict.proxy"


def find_account(name: str) -> Account:
    """Return an account by its login name, or by its number, which ``User=`` takes as well.

    :raises ServerError: if there is none, or it is root's
    """
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise ServerError(f"there is no account {name!r}", hint="--account names the server's") from None
    if entry.pw_uid == 0:
        raise ServerError("PostgreSQL does not run as root", hint="--account names the server's account")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=os.geteuid() == 0)


def server_account_name() -> str:
    """Return the login name that PostgreSQL runs under here, ``postgres`` if it does not run.

    :raises ServerError: if servers run under several
    """
    uids = sorted(server_uids())
    if len(uids) > 1:
        names = ", ".join(map(_name, uids))
        raise ServerError(
            f"PostgreSQL runs here under several accounts: {names}",
            hint="--account names the one whose server predicts",
        )
    return _name(uids[0]) if uids else "postgres"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def server_uids() -> set[int]:
    """Return the user ids of the PostgreSQL servers that run on this machine."""
    found = set()
    for process in psutil.process_iter(["name", "uids", "ppid"]):
        if process.info["name"] not in ("postgres", "postmaster") or process.info["uids"] is None:
            continue
        try:
            parent = psutil.Process(process.info["ppid"]).name() if process.info["ppid"] else ""
        except psutil.Error:
            parent = ""
        if parent not in ("postgres", "postmaster"):
            found.add(process.info["uids"].real)
    return found


def usable_interpreter(*accounts: Account) -> Path:
    """Return our interpreter, once it is known that services can use it.

    :param accounts: that have to be able to
    :raises ServerError: if they cannot
    """
    python = interpreter()
    places = [python, Path(sys.base_prefix), *map(package_directory, ("pgpredict", "numpy"))]
    for place in places:
        if any(hidden in place.parents for hidden in HIDDEN):
            raise ServerError(f"services see nothing of {str(place)!r}", hint=ELSEWHERE)
    for account in accounts:
        try:
            run([python, "-P", "-c", _NEEDED], env={"LC_ALL": "C.UTF-8"}, account=account, timeout=120)
        except (ServerError, PermissionError) as error:
            said = error.message.splitlines()[-1] if isinstance(error, ServerError) else str(error)
            raise ServerError(
                f"the account {account.name!r} cannot use {str(python)!r} and its packages: {said}",
                hint=ELSEWHERE,
            ) from error
    return python


def package_directory(name: str) -> Path:
    """Return the directory of an installed package, links resolved."""
    found = importlib.util.find_spec(name)
    return Path(found.origin).resolve().parent if found and found.origin else Path("/")
