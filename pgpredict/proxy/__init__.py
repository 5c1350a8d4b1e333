"""A proxy in front of PostgreSQL that knows PREDICT: any client can use it as if it were the server."""

from __future__ import annotations

from .service import Proxy
from .settings import ProxySettings, make_settings

__all__ = ["Proxy", "ProxySettings", "make_settings"]
