"""Configuration files of the cluster in the container."""

from __future__ import annotations

import os
from pathlib import Path

from .settings import Settings

TEMPLATE = Path(__file__).with_name("pgpredict.conf")
INCLUDE = "include_if_exists = 'pgpredict.conf'"
#: where the server's socket is, and copies of certificate and key: nobody else's
RUN = Path("/run/postgresql")
_UNLIMITED = 1 << 60


def access_rules(user: str) -> str:
    """Return pg_hba.conf.

    Within the container the account is enough for the superuser; everybody else is asked for a password.
    """
    name = quote_name(user)
    return f"""\
# TYPE  DATABASE        USER            ADDRESS         METHOD
local   all             {name}                          peer map=container
local   replication     {name}                          peer map=container
local   all             all                             scram-sha-256
host    all             all             all             scram-sha-256
host    replication     all             all             scram-sha-256
"""


def account_map(user: str) -> str:
    """Return pg_ident.conf."""
    return f"container postgres {quote_name(user)}\n"


def quote_name(name: str) -> str:
    """Quote a name for those two files."""
    return '"' + name.replace('"', '""') + '"'


def write_configuration(major: int, settings: Settings, data: Path) -> None:
    """Write ``pgpredict.conf``, and have ``postgresql.conf`` include it; what follows there overrides it."""
    values = [TEMPLATE.read_text()]
    values.append(f"shared_buffers = '{max(128, min(1024, memory() // (8 << 20)))}MB'\n")
    if major >= 14:
        values.append("client_connection_check_interval = '100ms'\n")
    if settings.certificate is not None and settings.key is not None:
        # the server takes no key that others could read, and a mounted secret has the mode that it has
        for source, name in ((settings.certificate, "server.crt"), (settings.key, "server.key")):
            with open(RUN / name, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as target:
                target.write(source.read_bytes())
        values.append(f"ssl = 'on'\nssl_cert_file = '{RUN}/server.crt'\nssl_key_file = '{RUN}/server.key'\n")
    new = data / "pgpredict.conf.new"
    new.write_text("".join(values))
    new.replace(data / "pgpredict.conf")
    main = data / "postgresql.conf"
    if INCLUDE not in main.read_text():
        with main.open("a") as file:
            file.write(f"\n# settings of pgpredict; what follows this line overrides them\n{INCLUDE}\n")


def memory(root: Path = Path("/")) -> int:
    """Return the bytes of memory that the container may use."""
    total = _UNLIMITED
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) << 10
    for name in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int((root / name).read_text()))
        except (OSError, ValueError):
            continue  # no such version of control groups, or "max"
    return total
