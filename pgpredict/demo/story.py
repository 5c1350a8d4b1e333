"""What the demo shows: tables of predictions, metrics and outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from pgpredict.server import Cluster
from pgpredict.server.proxy import proxy_dsn, proxy_tcp_dsn

THREE_TO_TRY = (
    "SELECT PREDICT(late_arrival), count(*) FROM departures GROUP BY 1",
    "SELECT m.prediction, m.probability_yes FROM models.late_arrival m "
    "JOIN (SELECT ml.features(d) AS features FROM departures d LIMIT 1) d USING (features)",
    "SELECT name, version, metrics ->> 'roc_auc' AS roc_auc FROM ml.models",
)


class Story:
    """Tells what happens, step by step, on standard output."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        self.steps = steps
        self.step = 0

    def begin(self, title: str) -> None:
        """Open the next step."""
        self.step += 1
        self.console.print()
        self.console.print(f"[bold cyan]{self.step}/{self.steps}[/] [bold]{escape(title)}[/]")

    def say(self, text: str) -> None:
        """Print one line of the current step."""
        self.console.print(f"    {escape(text)}", highlight=False, soft_wrap=True)

    def statement(self, text: str) -> None:
        """Show the SQL that runs, as it is, so that it can be copied."""
        highlighted = Syntax("", "sql", theme="ansi_dark").highlight(text.strip())
        for line in highlighted.split("\n", allow_blank=False):
            self.console.print(Text("    ") + line, soft_wrap=True)

    def board(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show the most probable late arrivals among flights that left nearly on time."""
        table = Table(box=None, padding=(0, 1))
        for column in (
            "departs",
            "airline",
            "flight",
            "from",
            "to",
            "left late",
            "visibility",
            "late",
            "probability",
            "by",
        ):
            table.add_column(
                column, justify="left" if column in ("departs", "airline", "from", "to") else "right"
            )
        for row in rows:
            table.add_row(
                row["departs"],
                row["airline"],
                str(row["flight"]),
                row["origin"],
                row["dest"],
                f"{row['left_late']} min",
                "-" if row["visib"] is None else f"{row['visib']:g} mi",
                row["late"],
                f"{row['probability']:.1%}",
                f"{row['minutes']} min",
            )
        self.console.print(table)

    def outcome(self, score: Mapping[str, Any], calibration: Sequence[Mapping[str, Any]]) -> None:
        """Show how good the forecasts were."""
        table = Table(box=None, padding=(0, 1))
        for column in ("", "forecast", "guess"):
            table.add_column(column, justify="left" if not column else "right")
        table.add_row(
            "late or not: right", f"{score['accuracy']:.1%}", f"{score['baseline_accuracy']:.1%} (always no)"
        )
        table.add_row("said late, was late", percent(score["precision"]), "-")
        table.add_row("was late, was said", percent(score["recall"]), "0.0%")
        table.add_row(
            "minutes: mean error", f"{score['mae']:.1f}", f"{score['baseline_mae']:.1f} (as late as it left)"
        )
        self.console.print(table)
        table = Table(box=None, padding=(0, 1))
        for column in ("probability", "flights", "mean predicted", "were late"):
            table.add_column(column, justify="right")
        for row in calibration:
            start = row["from_probability"]
            table.add_row(
                f"{start:.0%} to {start + 0.2:.0%}",
                f"{row['flights']:,}",
                percent(row["predicted"]),
                percent(row["happened"]),
            )
        self.console.print(table)

    def models(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show the deployed versions and their held-out metrics."""
        table = Table(box=None, padding=(0, 1))
        for column in (
            "model",
            "version",
            "algorithm",
            "held-out metrics",
            "against a guess",
            "rows compared",
            "largest difference",
        ):
            table.add_column(
                column,
                justify="right" if column in ("version", "rows compared", "largest difference") else "left",
                no_wrap=column in ("model", "algorithm"),
            )
        for row in rows:
            measured, baseline = row["metrics"], row["metrics"]["baseline"]
            names = [name for name in ("roc_auc", "log_loss", "r2", "mae") if name in measured]
            table.add_row(
                row["name"],
                str(row["version"]),
                row["algorithm"],
                ", ".join(f"{name} {measured[name]:.3f}" for name in names),
                ", ".join(f"{baseline[name]:.3f}" for name in names),
                f"{row['parity']['rows']:,}",
                f"{row['parity']['max_difference']:.1e}",
            )
        self.console.print(table)

    def how_to_go_on(self, cluster: Cluster | None) -> None:
        """Show how to connect, through the proxy, and statements to try.

        :param cluster: the local server; None: it was another one, which whoever named it knows to reach
        """
        self.console.print()
        self.console.print("[bold]How to go on[/]")
        if cluster is None:
            self.say("PREDICT             with any client, through that server's proxy: one of")
        else:
            self._connections(cluster)
        for statement in THREE_TO_TRY:
            self.statement(statement)

    def _connections(self, cluster: Cluster) -> None:
        self.say(f"connection string   {proxy_dsn(cluster)}")
        self.say(f"over TCP            {proxy_tcp_dsn(cluster)} (password in {cluster.home.password_file})")
        self.say("a prompt            .venv/bin/pgpredict psql")
        self.say('PREDICT             there, or .venv/bin/pgpredict query "..." with one of')


def percent(value: Any) -> str:
    """Return a share as text, a dash for NULL."""
    return "-" if value is None else f"{value:.1%}"
