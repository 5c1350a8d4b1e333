"""Commands about models: models, show, deploy, rollback, drop, import, export."""

from __future__ import annotations

import importlib.resources
import json
import re
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import rich_click as click
from psycopg.rows import dict_row
from rich import box
from rich.markup import escape
from rich.table import Table

from pgpredict.connection import connect
from pgpredict.errors import InvalidInput

from .console import make_console
from .examples import examples
from .present import (
    behaviour_lines,
    confusion_table,
    features_table,
    metrics_table,
    number,
    parity_line,
    select_it,
    try_it,
)

console = make_console()
dsn_option = click.option("--dsn", metavar="CONNINFO", help="The database; by default the local server.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
#: the metric that a list shows
_HEADLINE = {
    "regression": ("r2", "R²"),
    "binary": ("roc_auc", "ROC AUC"),
    "multiclass": ("accuracy", "accuracy"),
}


@click.command(epilog=examples("pgpredict models", "pgpredict models --json | jq -r '.[].name'"))
@dsn_option
@json_option
def models(dsn: str | None, as_json: bool) -> None:
    """List the models that you may use or own."""
    with _connect(dsn) as connection:
        rows = _rows(connection, "models")
    if as_json:
        _print_json(rows)
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
            _headline(row),
            escape(row["owner"]),
            "" if row["trained_at"] is None else f"{row['trained_at']:%Y-%m-%d %H:%M}",
        )
    console.print(table)


@click.command(epilog=examples("pgpredict show churn", "pgpredict show churn --version 2 --json"))
@click.argument("name")
@click.option("--version", type=int, help="A version; by default the deployed one, else the newest.")
@dsn_option
@json_option
def show(name: str, version: int | None, dsn: str | None, as_json: bool) -> None:
    """Show a model: features, what NULL does, metrics, parity, versions, training query, how to use it."""
    with _connect(dsn) as connection:
        model, versions = _model(connection, name)
    chosen = _version(versions, name, version)
    if as_json:
        numbers = [
            {"version": v["version"], "deployed": v["deployed"], "at": v["created_at"]} for v in versions
        ]
        _print_json({**model, **chosen, "model": name, "versions": numbers})
        return
    _print_model(model, chosen, versions)


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

    with _connect(dsn) as connection:
        done = storing.deploy(connection, name, version)
    console.print(f"{escape(name)} version {done} is deployed", highlight=False)


@click.command(epilog=examples("pgpredict rollback churn"))
@click.argument("name")
@dsn_option
def rollback(name: str, dsn: str | None) -> None:
    """Deploy again what was deployed before."""
    from onnx_models import storing

    with _connect(dsn) as connection:
        done = storing.rollback(connection, name)
    console.print(f"{escape(name)} is back at version {done}", highlight=False)


@click.command(epilog=examples("pgpredict drop churn", "pgpredict drop churn --yes"))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dsn_option
def drop(name: str, yes: bool, dsn: str | None) -> None:
    """Drop a model with all its versions."""
    from onnx_models import storing

    with _connect(dsn) as connection:
        _, versions = _model(connection, name)
        if not yes:
            click.confirm(f"drop model {name} with {len(versions)} version(s)?", abort=True)
        storing.drop(connection, name)
    console.print(f"{escape(name)} is dropped", highlight=False)


@click.command(
    "import",
    epilog=examples(
        "pgpredict import churn churn.onnx --target churned:boolean",
        "pgpredict import risk lightgbm.onnx --feature age:integer --feature income:numeric "
        "--class low --class high",
        "pgpredict import price net.onnx --task regression --feature rooms:integer --feature area",
    ),
)
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--feature", multiple=True, metavar="NAME[:TYPE]", help="A feature; repeat in the graph's order."
)
@click.option(
    "--class", "classes", multiple=True, metavar="LABEL", help="A class; repeat in the graph's order."
)
@click.option(
    "--task", type=click.Choice(["classification", "regression"]), help="Where the graph does not tell."
)
@click.option("--target", metavar="NAME[:TYPE]", help="What is predicted, and its type in SQL.")
@click.option("--output", metavar="NAME", help="The graph's output with the value or the probabilities.")
@click.option(
    "--null", "on_missing", type=click.Choice(["impute", "error"]),
    help="What NULL does: goes into the graph as NaN, or is an error. By default it is tried.",
)  # fmt: skip
@click.option("--no-deploy", is_flag=True, help="Store the version, but let the present one answer.")
@dsn_option
@json_option
def import_model(
    name: str,
    file: Path,
    feature: tuple[str, ...],
    classes: tuple[str, ...],
    task: Any,
    target: str | None,
    output: str | None,
    on_missing: Any,
    no_deploy: bool,
    dsn: str | None,
    as_json: bool,
) -> None:
    """Make the ONNX model in FILE, from any framework, version of model NAME.

    Names, types and class labels are read from the graph where they are there. Dates and times reach the
    graph as seconds since 1970, booleans as 0 and 1, NULL as NaN.
    """
    from onnx_models import storing
    from onnx_models.importing import Given
    from onnx_models.importing import import_model as read_model

    given = Given(
        tuple(map(_name_and_type, feature)),
        classes,
        task,
        _name_and_type(target) if target else None,
        output,
        on_missing,
    )
    with _connect(dsn) as connection:
        storing.check_can_store(connection, name)
        signature, artifact, rows = read_model(_read(file), given)
        info = {"algorithm": "imported", "parity": {"sample_rows": rows}, "training": {"file": file.name}}
        version = storing.register(connection, name, signature, artifact, info)
        if not no_deploy:
            storing.deploy(connection, name, version)
    if as_json:
        _print_json(
            {"model": name, "version": version, "deployed": not no_deploy, "signature": signature.to_json()}
        )
        return
    console.print(
        f"[bold]{escape(name)}[/] version {version}: {signature.task}, {len(signature.features)} features, "
        f"tried on {rows} sample rows" + (", not deployed" if no_deploy else ", deployed"),
        highlight=False,
    )
    document = signature.to_json()
    console.print(features_table(document["features"], signature.on_missing))
    console.print(select_it(name, document), markup=False, highlight=False, soft_wrap=True)


@click.command(
    epilog=examples("pgpredict export churn churn.onnx", "pgpredict export churn old.onnx --version 1")
)
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--version", type=int, help="A version; by default the deployed one.")
@dsn_option
def export(name: str, file: Path, version: int | None, dsn: str | None) -> None:
    """Write a model to FILE as ONNX, with its signature inside."""
    from onnx_models import storing

    with _connect(dsn) as connection:
        artifact = storing.export(connection, name, version)
    partial = file.with_name(f".{file.name}.part")
    try:
        # a file that is there is whole
        partial.write_bytes(artifact)
        partial.replace(file)
    except OSError as error:
        raise InvalidInput(f"cannot write {str(file)!r}: {error.strerror}") from error
    console.print(f"{len(artifact):,} bytes in {escape(str(file))}", highlight=False, soft_wrap=True)


def _connect(dsn: str | None) -> psycopg.Connection:
    """Connect to a database that has our extension."""
    from onnx_models.storing import require_installed

    connection = connect(dsn, autocommit=True)
    try:
        require_installed(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _query(name: str) -> LiteralString:
    text = importlib.resources.files(__package__ or "").joinpath("models.sql").read_text("utf-8")
    parts: list[Any] = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    found: LiteralString = dict(zip(parts[1::2], parts[2::2], strict=True))[name]
    return found


def _rows(connection: psycopg.Connection, query: str, *parameters: Any) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_query(query), parameters).fetchall()


def _model(connection: psycopg.Connection, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    found = _rows(connection, "model", name)
    if not found:
        known = ", ".join(row["name"] for row in _rows(connection, "models"))
        raise InvalidInput(
            f"there is no model {name!r} that you may use",
            hint=f"there is {known}" if known else "train one first",
        )
    return found[0], _rows(connection, "versions", name)


def _version(versions: list[dict[str, Any]], name: str, wanted: int | None) -> dict[str, Any]:
    if wanted is None:
        return next((version for version in versions if version["deployed"]), versions[0])
    for version in versions:
        if version["version"] == wanted:
            return version
    numbers = ", ".join(str(version["version"]) for version in versions)
    raise InvalidInput(f"model {name!r} has no version {wanted}", hint=f"it has {numbers}")


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
            _headline({**row, "task": row["signature"]["task"]}),
            f"{row['created_at']:%Y-%m-%d %H:%M}",
            escape(row["created_by"]),
            row["artifact"][:12],
        )
    console.print(table)


def _headline(row: dict[str, Any]) -> str:
    key, label = _HEADLINE.get(row["task"] or "", ("accuracy", "accuracy"))
    value = (row["metrics"] or {}).get(key)
    return "" if value is None else f"{label} {number(value)}"


def _name_and_type(text: str) -> tuple[str, str | None]:
    """Split NAME:TYPE at the last colon."""
    name, colon, kind = text.rpartition(":")
    if not colon:
        name, kind = text, ""
    if not name:
        raise InvalidInput(f"{text!r} is not NAME:TYPE", hint="for example age:integer")
    return name, kind or None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read {str(file)!r}: {error.strerror}") from error


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))
