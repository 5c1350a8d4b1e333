"""The command line. Commands are listed in one table and imported when they are used."""

from .app import main

__all__ = ["main"]
