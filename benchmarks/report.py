"""What a benchmark found, as a table on the screen and as Markdown."""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import psutil
import psycopg
from rich.console import Console
from rich.table import Table

BEGIN = "<!-- results: written by make bench -->"
END = "<!-- end of results -->"
DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"

console = Console(width=None if sys.stdout.isatty() else 140)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One comparison.

    :ivar subject: what was measured
    :ivar ours: our figure, with its unit
    :ivar alternative: the other's figure, with its unit
    :ivar ratio: how many times as good (or as much) as the text of ``meaning`` says
    :ivar meaning: what the ratio divides by what
    :ivar goal: what we expect of the ratio or the figure
    :ivar met: whether the goal was met in this run; None where there is none
    """

    subject: str
    ours: str
    alternative: str
    ratio: float
    meaning: str
    goal: str = ""
    met: bool | None = None

    @property
    def mark(self) -> str:
        """Whether the goal was met, as a word."""
        return {True: "met", False: "missed", None: ""}[self.met]


def timed(function: Callable[[], Any]) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interleaved(functions: Sequence[Callable[[], Any]], runs: int) -> list[float]:
    """Call the functions in turn, ``runs`` times after a warm-up, and return each one's median in seconds.

    In turn, so that a machine that slows down slows all of them.
    """
    for function in functions:
        function()
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(runs):
        for function, measured in zip(functions, seconds, strict=True):
            measured.append(timed(function))
    return [statistics.median(measured) for measured in seconds]


def occasion() -> str:
    """Return the day and how busy the machine is, as a line of Markdown."""
    load = os.getloadavg()[0]
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, load average {load:.1f}"


def setting(connection: psycopg.Connection[Any], rows: int, runs: int) -> str:
    """Describe what was measured on, as lines of Markdown.

    :param rows: rows of the tables
    :param runs: counted runs of each way
    """
    extension = connection.execute(
        "SELECT extversion FROM pg_extension WHERE extname = 'multicorn'"
    ).fetchone()
    memory = psutil.virtual_memory().total / (1 << 30)
    server = str(connection.info.parameter_status("server_version")).split()[0]
    return (
        f"{rows:,} rows, medians of {runs} interleaved runs.\n\n"
        f"- {os.cpu_count()} cores ({processor()}), {memory:.0f} GB, "
        f"{platform.system()} {platform.machine()}\n"
        f"- PostgreSQL {server}, Multicorn {extension[0] if extension else '?'}, "
        f"ONNX Runtime {onnxruntime.__version__}, psycopg {psycopg.__version__}, "
        f"Python {platform.python_version()}\n"
    )


def processor() -> str:
    """Return the processor's name, as Linux has it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def show(title: str, findings: Iterable[Finding]) -> None:
    """Print findings as a table."""
    table = Table("what", "ours", "alternative", "ratio", "goal", "", title=title, title_justify="left")
    colours = {True: "green", False: "red", None: "default"}
    for finding in findings:
        table.add_row(
            finding.subject,
            finding.ours,
            finding.alternative,
            f"{finding.ratio:.2f} {finding.meaning}",
            finding.goal,
            f"[{colours[finding.met]}]{finding.mark}[/]",
        )
    console.print(table)


def markdown(title: str, findings: Iterable[Finding], when: str = "") -> str:
    """Return findings as a Markdown table under a heading.

    :param when: when and on what they were measured
    """
    lines = [
        f"### {title}",
        "",
        *([when, ""] if when else []),
        "| what | ours | alternative | ratio | goal | |",
        "|---|---|---|---|---|---|",
    ]
    for finding in findings:
        lines.append(
            f"| {finding.subject} | {finding.ours} | {finding.alternative} | "
            f"{finding.ratio:.2f} {finding.meaning} | {finding.goal} | {finding.mark} |"
        )
    return "\n".join(lines) + "\n"


def write(document: Path, where: str, tables: Mapping[str, str]) -> None:
    """Put tables between the markers of a document; those that were not measured now stay as they were.

    :param where: what was measured on
    :param tables: by title, with their headings
    :raises ValueError: if the document has no markers
    """
    before, begin, rest = document.read_text().partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{str(document)!r} lacks the markers {BEGIN!r} and {END!r}")
    parts = [f"### {part}" for part in old.strip().split("### ")[1:]]
    kept = {part.partition("\n")[0].removeprefix("### "): part for part in parts}
    text = "\n".join([where, *(f"{table.strip()}\n" for table in ({**kept, **tables}).values())])
    document.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")
