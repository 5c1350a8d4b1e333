"""The command ``show``: all about one version of a model."""

from __future__ import annotations

from typing import Any

import rich_click as click
from rich import box
from rich.markup import escape
from rich.table import Table

from .console import make_console
from .examples import examples
from .lookup import (
    choose_version,
    connect_installed,
    dsn_option,
    find_model,
    headline,
    json_option,
    print_json,
)
from .present import (
    behaviour_lines,
    confusion_table,
    features_table,
    metrics_table,
    parity_line,
    select_it,
    try_it,
)

console = make_console()


@click.command(epilog=examples("pgpredict show churn", "pgpredict show churn --version 2 --json"))
@click.argument("name")
@click.option("--version", type=int, help="A version; by default the deployed one, else the newest.")
@dsn_option
@json_option
def show(name: str, version: int | None, dsn: str | None, as_json: bool) -> None:
    """Show a model: features, what NULL does, metrics, parity, versions, training query, how to use it."""
    with connect_installed(dsn) as connection:
        model, versions = find_model(connection, name)
    chosen = choose_version(versions, name, version)
    if as_json:
        numbers = [
            {"version": v["version"], "deployed": v["deployed"], "at": v["created_at"]} for v in versions
        ]
        print_json({**model, **chosen, "model": name, "versions": numbers})
        return
    _print_model(model, chosen, versions)


def _print_model(model: dict[str, Any], chosen: dict[str, Any], versions: list[dict[str, Any]]) -> None:
    signature, training, metrics = chosen["signature"], chosen["training"], chosen["metrics"]
    state = "deployed" if chosen["deployed"] else "not deployed"
    target, owner = signature["target"], escape(model["owner"])
    console.print(
        f"[bold]{escape(model['name'])}[/] version {chosen['version']} ({state}), owner {owner}\n"
        f"{signature['task']} of {escape(target['name'])} ({escape(target['type'])}) "
        f"by {chosen['algorithm']}",
        highlight=False,
    )
    options = ", ".join(f"{key} = {value}" for key, value in chosen["parameters"].items())
    if options:
        console.print(f"[dim]{escape(options)}[/]", highlight=False)
    console.print(features_table(signature["features"], signature["on_missing"]))
    for line in behaviour_lines(chosen):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if metrics:
        console.print(metrics_table(metrics))
        confusion = confusion_table(metrics, signature["classes"])
        if confusion is not None:
            console.print(confusion)
    console.print(f"parity: {parity_line(chosen['parity'])}", highlight=False, soft_wrap=True)
    _print_versions(versions)
    if training.get("query"):
        console.print("\ntraining query", style="bold")
        console.print(training["query"], markup=False, highlight=False, soft_wrap=True)
    console.print("\ntry", style="bold")
    for statement in filter(None, (try_it(model["name"], training), select_it(model["name"], signature))):
        console.print(f"  {statement}", markup=False, highlight=False, soft_wrap=True)


def _print_versions(versions: list[dict[str, Any]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, title="versions")
    table.title_justify = "left"
    for heading in ("version", "", "algorithm", "quality", "trained", "by", "sha256"):
        table.add_column(heading)
    for row in versions:
        table.add_row(
            str(row["version"]),
            "[green]deployed[/]" if row["deployed"] else "",
            row["algorithm"] or "",
            headline({**row, "task": row["signature"]["task"]}),
            f"{row['created_at']:%Y-%m-%d %H:%M}",
            escape(row["created_by"]),
            row["artifact"][:12],
        )
    console.print(table)
