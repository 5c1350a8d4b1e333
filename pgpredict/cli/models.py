"""Commands about models: models, deploy, rollback, drop."""

from __future__ import annotations

import rich_click as click
from rich import box
from rich.markup import escape
from rich.table import Table

from .console import make_console
from .examples import examples
from .lookup import connect_installed, dsn_option, find_model, headline, json_option, print_json, rows_of

console = make_console()


@click.command(epilog=examples("pgpredict models", "pgpredict models --json | jq -r '.[].name'"))
@dsn_option
@json_option
def models(dsn: str | None, as_json: bool) -> None:
    """List the models that you may use or own."""
    with connect_installed(dsn) as connection:
        rows = rows_of(connection, "models")
    if as_json:
        print_json(rows)
        return
    if not rows:
        console.print("no models yet; train one:")
        console.print("  pgpredict train NAME --target COLUMN --table TABLE", markup=False, highlight=False)
        return
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("model", "predicts", "version", "algorithm", "quality", "owner", "trained"):
        # what is typed again must not be cut short
        table.add_column(heading, no_wrap=heading in ("model", "algorithm"), overflow="fold")
    for row in rows:
        newer = "" if row["newest"] in (row["version"], None) else f" (newest {row['newest']})"
        table.add_row(
            escape(row["name"]),
            escape(f"{row['target']} ({row['target_type']}), {row['task']}"),
            ("not deployed" if row["version"] is None else str(row["version"])) + newer,
            row["algorithm"] or "",
            headline(row),
            escape(row["owner"]),
            "" if row["trained_at"] is None else f"{row['trained_at']:%Y-%m-%d %H:%M}",
        )
    console.print(table)


@click.command(epilog=examples("pgpredict deploy churn", "pgpredict deploy churn 3"))
@click.argument("name")
@click.argument("version", type=int, required=False)
@dsn_option
def deploy(name: str, version: int | None, dsn: str | None) -> None:
    """Let VERSION of a model answer, by default the newest.

    It takes effect in the next statement of every session; running statements end with the version they
    began with.
    """
    from onnx_models import storing

    with connect_installed(dsn) as connection:
        done = storing.deploy(connection, name, version)
    console.print(f"{escape(name)} version {done} is deployed", highlight=False)


@click.command(epilog=examples("pgpredict rollback churn"))
@click.argument("name")
@dsn_option
def rollback(name: str, dsn: str | None) -> None:
    """Deploy again what was deployed before."""
    from onnx_models import storing

    with connect_installed(dsn) as connection:
        done = storing.rollback(connection, name)
    console.print(f"{escape(name)} is back at version {done}", highlight=False)


@click.command(epilog=examples("pgpredict drop churn", "pgpredict drop churn --yes"))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dsn_option
def drop(name: str, yes: bool, dsn: str | None) -> None:
    """Drop a model with all its versions."""
    from onnx_models import storing

    with connect_installed(dsn) as connection:
        _, versions = find_model(connection, name)
        if not yes:
            click.confirm(f"drop model {name} with {len(versions)} version(s)?", abort=True)
        storing.drop(connection, name)
    console.print(f"{escape(name)} is dropped", highlight=False)
