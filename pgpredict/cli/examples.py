"""Examples under a command's ``--help``."""

from __future__ import annotations


def examples(*commands: str) -> str:
    """Return an epilog with one example a line.

    rich-click fills single lines of an epilog into a paragraph, and breaks them at empty lines.
    """
    return "\n\n".join(["Examples:", *(f"$ {command}" for command in commands)])
