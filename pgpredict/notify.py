"""What a service tells its manager: systemd's notification protocol, one datagram a message.

Without a manager, as in a terminal or beside ``pgpredict up``, nothing is sent. The protocol is described in
sd_notify(3).
"""

from __future__ import annotations

import contextlib
import os
import socket

#: variables by which the manager asks for messages; children of ours are not to answer for us
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


def notify(*assignments: str) -> bool:
    """Send assignments such as ``READY=1`` to the service manager.

    A manager that does not take them is no reason to fail.

    :returns: whether there is one that took them
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    # "@" stands for the NUL byte of the abstract namespace
    target = f"\0{address[1:]}" if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto("\n".join(assignments).encode(), target)
        return True
    return False


def watchdog_seconds() -> float | None:
    """Return how often the manager wants to hear ``WATCHDOG=1``: half of what it waits; None: it does not."""
    try:
        microseconds = int(os.environ["WATCHDOG_USEC"])
        meant = int(os.environ.get("WATCHDOG_PID") or os.getpid())
    except (KeyError, ValueError):
        return None
    return microseconds / 2e6 if microseconds > 0 and meant == os.getpid() else None


def inherited_environment() -> dict[str, str]:
    """Return our environment for a child, without what makes it answer in our place."""
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}
