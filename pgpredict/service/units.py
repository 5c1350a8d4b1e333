"""Unit files: templates beside this module, filled with values that are quoted as systemd reads them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pgpredict.errors import InvalidInput

#: by the name that users say
SERVICES = {"runtime": "pgpredict-runtime.service", "proxy": "pgpredict-proxy.service"}
#: that the runtime needs beside its models: Python, ONNX Runtime, and batches on their way through them
HEADROOM = 1 << 30

_PLACE = re.compile(r"@([A-Z]+)@")
_HEAD = "# Written by 'pgpredict service install'. Change it with: systemctl edit"
_HEADED = re.compile(re.escape(_HEAD) + r" [\w.-]+\n# sha256 of what follows: ([0-9a-f]{64})\n\n")


@dataclass(frozen=True)
class Settings:
    """What differs from host to host.

    :param python: the interpreter that has our packages, an absolute path
    :param account: login name that the PostgreSQL server runs under
    :param memory: bound on loaded models, in bytes
    """

    python: Path
    account: str
    memory: int


def template(name: str) -> str:
    """Return the text of one of our files."""
    return (resources.files(__package__) / "files" / name).read_text(encoding="utf-8")


def render(name: str, settings: Settings) -> str:
    """Return the text of a unit file, headed by a digest that tells whether it was changed.

    :param name: of the unit
    :raises InvalidInput: if a value cannot be written in a unit file
    """
    values = {
        "PYTHON": program(settings.python),
        "ACCOUNT": account(settings.account),
        "MEMORY": str(settings.memory + HEADROOM),
    }
    body = _PLACE.sub(lambda match: values[match[1]], template(name))
    return f"{_HEAD} {name}\n# sha256 of what follows: {digest(body)}\n\n{body}"


def digest(body: str) -> str:
    """Return the digest of a unit file's text below its head."""
    return hashlib.sha256(body.encode()).hexdigest()


def is_untouched(text: str) -> bool:
    """Tell whether a unit file is as we wrote it, by whatever version of us."""
    match = _HEADED.match(text)
    return match is not None and digest(text[match.end() :]) == match[1]


def program(path: Path) -> str:
    """Return the first word of a command line in a unit file.

    :raises InvalidInput: if systemd could not start it, or not under its own name
    """
    # systemd takes no quotes and backslashes in it; a dollar would be one in the path, two in argv[0], and
    # Python finds its packages by the latter
    if not path.is_absolute() or set(str(path)) & set("\\\"'$"):
        raise InvalidInput(
            f"the path of the interpreter, {str(path)!r}, cannot be written in a unit file",
            hint="install pgpredict in a directory with a plain name, such as /opt/pgpredict",
        )
    return quoted(str(path))


def account(name: str) -> str:
    """Return a login name as ``User=`` takes it, which reads no quotes.

    :raises InvalidInput: if it is none
    """
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise InvalidInput(f"{name!r} cannot be written in a unit file as an account")
    return name


def quoted(value: str) -> str:
    """Return a value as one word of a unit file, see systemd.syntax(7) and systemd.unit(5).

    :raises InvalidInput: if it has control characters
    """
    if not value or any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise InvalidInput(f"{value!r} cannot be written in a unit file")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return value if re.fullmatch(r"[\w./:+@,=-]+", escaped, re.ASCII) else f'"{escaped}"'
