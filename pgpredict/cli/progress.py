"""Progress of long steps: a spinner on a terminal, lines elsewhere; always on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

#: steps that end sooner are not worth a line of their own
WORTH_A_LINE = 0.5


@contextmanager
def showing_progress(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows what is going on: ``activity`` or ``activity: how far``.

    :param quiet: show nothing
    """
    console = Console(stderr=True, quiet=quiet)
    current, started = "", time.monotonic()

    def finish() -> None:
        seconds = time.monotonic() - started
        if current and console.is_terminal and seconds >= WORTH_A_LINE:
            console.print(f"[green]✓[/] {escape(current)} [dim]({seconds:.1f} s)[/]", highlight=False)

    with console.status("") as status:

        def show(line: str) -> None:
            nonlocal current, started
            activity = line.partition(": ")[0]
            if activity != current:
                finish()
                current, started = activity, time.monotonic()
                if not console.is_terminal:
                    console.print(f"{escape(activity)} …", highlight=False)
            status.update(f"{escape(line)} …")

        yield show
        finish()
