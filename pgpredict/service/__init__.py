"""The runtime and the proxy as services of a host that systemd runs."""

from .host import Host, install, uninstall
from .units import SERVICES, Settings, render

__all__ = ["SERVICES", "Host", "Settings", "install", "render", "uninstall"]
