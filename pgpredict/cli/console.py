"""The console of tables and results."""

from __future__ import annotations

import os

from rich.console import Console

#: columns where no terminal says how many; rich's own 80 would cut names short in files and pipes
WIDTH = 120


def make_console() -> Console:
    """Return a console on standard output."""
    console = Console()
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = WIDTH
    return console
