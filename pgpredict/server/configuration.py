"""Settings of the servers that we own, in a file that the main configuration includes."""

from __future__ import annotations

from pathlib import Path

import psutil

FILE_NAME = "pgpredict.conf"
INCLUDE = f"include_if_exists = '{FILE_NAME}'"

#: the directory of the socket is closed to other accounts; over TCP a password is asked for
ACCESS_RULES = """\
# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             all                                     trust
local   replication     all                                     trust
host    all             all             127.0.0.1/32            scram-sha-256
"""


def settings(major: int, port: int, run: Path, *, durable: bool) -> dict[str, str]:
    """Return the settings of a server.

    :param durable: False for clusters that are thrown away: nothing waits for the disk
    """
    memory = psutil.virtual_memory().total >> 20
    values = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(run),
        "unix_socket_permissions": "0700",
        "max_connections": "200",
        "password_encryption": "scram-sha-256",
        "shared_buffers": f"{max(128, min(1024, memory // 8))}MB",
        # a batch of 20,000 rows is aggregated in memory; with less the planner sorts instead
        "work_mem": "128MB",
        "maintenance_work_mem": "256MB",
        "max_wal_size": "2GB",
        # compiling costs 100 ms and more, and foreign scans look expensive to the planner
        "jit": "off",
        "logging_collector": "off",
        "log_line_prefix": "%m [%p] %q%u@%d ",
    }
    if major >= 14:
        values["client_connection_check_interval"] = "100ms"
    if not durable:
        values |= {
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "128MB",
        }
    return values


def render(values: dict[str, str]) -> str:
    """Return the text of a configuration file."""
    quoted = (f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in values.items())
    return (
        "# written by pgpredict at every start: put your own settings into postgresql.conf\n"
        + "\n".join(quoted)
        + "\n"
    )
