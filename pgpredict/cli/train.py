"""The command train."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.markup import escape

from pgpredict.connection import connect
from pgpredict.errors import InvalidInput

from .console import make_console
from .examples import examples
from .present import metrics_table, parity_line, select_it, try_it
from .progress import showing_progress

if TYPE_CHECKING:
    from onnx_models.train import Stored
    from onnx_models.training import Progress

console = make_console()
#: named here, because the table of algorithms takes time to import; a test compares both
ALGORITHMS = (
    "auto", "linear", "ridge", "lasso", "elastic_net", "logistic", "decision_tree", "random_forest",
    "extra_trees", "gradient_boosting", "hist_gradient_boosting", "knn", "svm", "naive_bayes", "mlp",
)  # fmt: skip
STEPS = {
    "reading": "reading",
    "choosing": "choosing an algorithm",
    "fitting": "fitting",
    "converting": "converting to ONNX",
    "verifying": "verifying",
    "inline": "certifying",
    "storing": "storing",
}


@click.command(
    epilog=examples(
        "pgpredict train churn --target churned --table customers --exclude id",
        "pgpredict train delay --target minutes --query 'SELECT ... FROM a JOIN b USING (id)'",
        "pgpredict train delay --target minutes --query @delay.sql --time departed",
        "pgpredict train churn --target churned --table customers --algorithm random_forest "
        "--param n_estimators=300 --param max_depth=none",
    )
)
@click.argument("name")
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option(
    "--query", metavar="SQL", help="A SELECT of the features and the target; @FILE reads it from a file."
)
@click.option("--table", metavar="TABLE", help="A table or view to train on, instead of a query.")
@click.option(
    "--exclude", "--key", multiple=True, metavar="COLUMN", help="A column that is no feature, such as a key."
)
@click.option(
    "--algorithm", type=click.Choice(ALGORITHMS), default="auto", show_default=True, metavar="NAME",
    help=f"One of {', '.join(ALGORITHMS)}.",
)  # fmt: skip
@click.option(
    "--param", multiple=True, metavar="NAME=VALUE", help="A hyperparameter; a wrong one lists them all."
)
@click.option(
    "--task", type=click.Choice(["auto", "classification", "regression"]), default="auto", show_default=True,
    help="What the target is; text and booleans are classes, numbers are regressed.",
)  # fmt: skip
@click.option(
    "--test-size", type=float, default=0.2, show_default=True, help="Share of rows held out to measure."
)
@click.option("--time", metavar="COLUMN", help="Hold out the newest rows by this column, not random ones.")
@click.option(
    "--max-categories", type=int, default=100, show_default=True, help="Texts of a feature told apart."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="The same seed and data give the same model."
)
@click.option("--no-deploy", is_flag=True, help="Store the version, but let the present one answer.")
@click.option("--dsn", metavar="CONNINFO", help="The database; by default the local server.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(
    name: str,
    target: str,
    query: str | None,
    table: str | None,
    exclude: tuple[str, ...],
    algorithm: str,
    param: tuple[str, ...],
    task: Any,
    test_size: float,
    time: str | None,
    max_categories: int,
    seed: int,
    no_deploy: bool,
    dsn: str | None,
    as_json: bool,
) -> None:
    """Train model NAME on a query or a table, verify it, store it and deploy it.

    Types are read from the query's result; NULL, texts, dates and times are prepared inside the model. A part
    of the rows is held out to measure how good it is. Training again makes the next version.
    """
    if (query is None) == (table is None):
        raise InvalidInput("what to train on is not clear", hint="give either --query or --table")
    parameters = read_parameters(param)
    notes: list[str] = []
    with showing_progress(quiet=as_json) as show, connect(dsn, autocommit=True) as connection:
        show("loading scikit-learn")
        from onnx_models.reading import Source, table_query
        from onnx_models.train import train as train_model
        from onnx_models.training import Options

        def report(progress: Progress) -> None:
            if progress.step == "warning":
                notes.append(progress.text)
            else:
                show(f"{STEPS[progress.step]}: {progress.text}")

        sql = table_query(connection, table) if table is not None else query_text(query or "")
        stored = train_model(
            connection,
            name,
            Source(sql, target, exclude, time),
            Options(algorithm, parameters, task, test_size, seed, max_categories),
            deploy=not no_deploy,
            report=report,
        )
    if as_json:
        click.echo(json.dumps(as_object(stored, notes), indent=2))
    else:
        print_result(stored, notes)


def read_parameters(given: tuple[str, ...]) -> dict[str, str]:
    """Split NAME=VALUE pairs.

    :raises InvalidInput: for one without a sign of equality
    """
    parameters = {}
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise InvalidInput(
                f"parameter {pair!r} is not NAME=VALUE", hint="for example --param max_depth=5"
            )
        parameters[name.strip()] = value.strip()
    return parameters


def query_text(query: str) -> str:
    """Return the query, or the text of the file that ``@FILE`` names.

    :raises InvalidInput: if the file cannot be read
    """
    if not query.startswith("@"):
        return query
    try:
        return Path(query[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"cannot read the query from {query[1:]!r}: {reason}") from error


def as_object(stored: Stored, notes: list[str]) -> dict[str, Any]:
    """Return the result for a script."""
    from onnx_models.storing import finite

    trained = stored.trained
    value: dict[str, Any] = finite(
        {
            "model": stored.name,
            "version": stored.version,
            "deployed": stored.deployed,
            "task": trained.signature.task,
            "algorithm": trained.algorithm,
            "parameters": trained.parameters,
            "metrics": trained.metrics,
            "parity": trained.parity,
            "inline": stored.inline,
            "training": trained.training,
            "warnings": notes,
        }
    )
    return value


def print_result(stored: Stored, notes: list[str]) -> None:
    """Print what came of it, and what to do next."""
    trained = stored.trained
    for note in notes:
        console.print(f"[yellow]note[/]  {escape(note)}", highlight=False)
    training = trained.training
    console.print(
        f"[bold]{escape(stored.name)}[/] version {stored.version}: {trained.signature.task} "
        f"by {trained.algorithm}, trained on {training['rows']:,} rows in {training['seconds']:.1f} s",
        highlight=False,
    )
    for candidate, score in training.get("tried", {}).items():
        chosen = " [green]chosen[/]" if candidate == trained.algorithm else ""
        console.print(f"  tried {candidate}: {score:.4g}{chosen}", highlight=False)
    console.print(metrics_table(trained.metrics))
    console.print(parity_line(trained.parity), highlight=False, soft_wrap=True)
    console.print(f"inline SQL: {escape(stored.inline)}", highlight=False, soft_wrap=True)
    name = shlex.quote(stored.name)
    state = (
        "deployed: it answers from the next statement on"
        if stored.deployed
        else (f"stored, not deployed; pgpredict deploy {name} {stored.version}")
    )
    console.print(f"version {stored.version} is {escape(state)}", highlight=False, soft_wrap=True)
    console.print("[bold]try[/]", highlight=False)
    commands = [try_it(stored.name, {"query": stored.query}), f"pgpredict show {name}"]
    for command in filter(None, commands):
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"  {select_it(stored.name, trained.signature.to_json())}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
