"""Entry point of the database's container.

Checks what it was given, makes the cluster at the first start or brings it up to date, then becomes the
server, or as process 1 starts it and waits. Any other command is run as it is.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from . import init
from .configuration import RUN, write_configuration
from .data import check_version, make, renew, say
from .errors import Refused
from .holding import hold
from .server import Programs
from .settings import read_settings

#: with one of these the server only tells something
_TELLS = {"--help", "-?", "--version", "-V", "-C", "--describe-config"}


def main(arguments: list[str]) -> NoReturn:
    """Start the server, or whatever else is asked for."""
    words = arguments or ["postgres"]
    if words[0].startswith("-"):
        words = ["postgres", *words]
    if words[0] != "postgres" or _TELLS.intersection(words[1:]):
        os.execvp(words[0], words)  # noqa: S606 - what the container was told to run
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    try:
        programs = prepare()
    except (Refused, OSError) as error:
        tell(error)
        sys.exit(1)
    command = [str(programs.bindir / "postgres"), *words[1:]]
    if os.getpid() == 1:
        sys.exit(init.run(command, programs.server_environment()))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(command[0], command, programs.server_environment())  # noqa: S606 - our own server


def tell(error: Refused | OSError) -> None:
    """Say why the container does not start."""
    if isinstance(error, Refused):
        message, hint = error.message, error.hint
    else:
        where = f"{str(error.filename)!r}: " if error.filename else ""
        message, hint = f"{where}{error.strerror or error}", None
    if isinstance(error, PermissionError):
        hint = (
            f"the container runs as the uid {os.getuid()}: chown -R {os.getuid()}:{os.getgid()} on the volume"
        )
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")


def prepare() -> Programs:
    """Have a cluster that is ready for the server.

    :raises Refused: if something that the container needs is missing or wrong
    """
    if os.getuid() == 0:
        raise Refused("PostgreSQL does not run as root", hint="leave out --user: the image has an account")
    settings = read_settings(os.environ)
    for directory in (RUN, "/tmp"):  # noqa: S108 - whether it is there
        if not os.access(directory, os.W_OK):
            raise Refused(
                f"cannot write to {str(directory)!r}", hint=f"mount a tmpfs there: --tmpfs {directory}"
            )
    programs = Programs.load()
    os.environ["PGDATA"] = str(settings.data)
    os.umask(0o077)
    hold(settings.data)
    if check_version(programs, settings.data):
        write_configuration(programs.major, settings, settings.data)
        renew(programs, settings)
    else:
        make(programs, settings)
    return programs


def _end(number: int, frame: FrameType | None) -> NoReturn:
    # ends the server that works inside, too
    sys.exit(128 + number)
