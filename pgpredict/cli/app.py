"""The ``pgpredict`` command: a table of commands, and errors without stack traces."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import rich_click as click
from rich.console import Console

from pgpredict import __version__
from pgpredict.errors import InvalidInput

#: command name -> module and attribute of its function. Explicit, and imported only when the command
#: is used: ``pgpredict status`` must not pay 1.6 s for scikit-learn.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("pgpredict.cli.server", "up"),
    "down": ("pgpredict.cli.server", "down"),
    "status": ("pgpredict.cli.server", "status"),
    "doctor": ("pgpredict.cli.server", "doctor"),
    "psql": ("pgpredict.cli.server", "psql"),
    "install": ("pgpredict.cli.server", "install"),
    "demo": ("pgpredict.cli.demo", "demo"),
    "train": ("pgpredict.cli.train", "train"),
    "models": ("pgpredict.cli.models", "models"),
    "show": ("pgpredict.cli.show", "show"),
    "deploy": ("pgpredict.cli.models", "deploy"),
    "rollback": ("pgpredict.cli.models", "rollback"),
    "drop": ("pgpredict.cli.models", "drop"),
    "import": ("pgpredict.cli.transfer", "import_model"),
    "export": ("pgpredict.cli.transfer", "export"),
    "query": ("pgpredict.cli.sql", "query"),
    "rewrite": ("pgpredict.cli.sql", "rewrite"),
    "runtime": ("pgpredict.cli.runtime", "runtime"),
    "proxy": ("pgpredict.cli.proxy", "proxy"),
    "service": ("pgpredict.cli.service", "service"),
}

errors_console = Console(stderr=True)


class LazyGroup(click.RichGroup):
    """A group whose commands are imported at their first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pgpredict")
def app() -> None:
    """Machine learning where the data lives: PREDICT is SQL."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of ours end in a message, a hint and exit code 1.

    :param arguments: words after the program's name, ``sys.argv`` by default
    """
    try:
        app(args=arguments, prog_name="pgpredict")
    except Exception as error:
        if os.environ.get("PGPREDICT_DEBUG") or not is_expected(error):
            raise
        report(error)
        sys.exit(1)


def is_expected(error: Exception) -> bool:
    """Tell whether an error is a user's or the surroundings', not a defect of ours."""
    return hasattr(error, "sqlstate") or isinstance(error, OSError)


def report(error: Any) -> None:
    """Print an error, its hint and its SQLSTATE to standard error."""
    diagnostic = getattr(error, "diag", None)
    if isinstance(error, OSError) and error.strerror:
        # a full disk, files that somebody has moved or closed
        where = "" if error.filename is None else f": {str(error.filename)!r}"
        error = InvalidInput(error.strerror + where, hint="PGPREDICT_DEBUG=1 shows where it happened")
    message = getattr(error, "message", None) or (diagnostic and diagnostic.message_primary) or str(error)
    hint = getattr(error, "hint", None) or (diagnostic and diagnostic.message_hint)
    detail = diagnostic and diagnostic.message_detail
    errors_console.print("[bold red]error:[/] ", end="")
    errors_console.print(str(message).strip(), markup=False, highlight=False, soft_wrap=True)
    for label, text in (("detail", detail), ("hint", hint)):
        if text:
            errors_console.print(f"[bold]{label}:[/] ", end="")
            errors_console.print(text, markup=False, highlight=False, soft_wrap=True)
