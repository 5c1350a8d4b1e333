"""The local server: found or fetched, started, watched and stopped."""

from .cluster import Cluster
from .home import Home, default_home
from .install import ServerInstall
from .private import fetch, find_servers

__all__ = ["Cluster", "Home", "ServerInstall", "default_home", "fetch", "find_servers"]
