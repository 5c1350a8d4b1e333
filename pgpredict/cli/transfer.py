"""Commands that carry models in and out: import, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click
from rich.markup import escape

from pgpredict.errors import InvalidInput

from .console import make_console
from .examples import examples
from .lookup import connect_installed, dsn_option, json_option, print_json
from .present import features_table, select_it

console = make_console()


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
    from onnx_models.inline.making import make_imported

    given = Given(
        tuple(map(_name_and_type, feature)),
        classes,
        task,
        _name_and_type(target) if target else None,
        output,
        on_missing,
    )
    with connect_installed(dsn) as connection:
        storing.check_can_store(connection, name)
        signature, artifact, rows = read_model(_read(file), given)
        made = make_imported(connection, artifact)
        info = {
            "algorithm": "imported",
            "parity": {"sample_rows": rows, "inline": made.text},
            "training": {"file": file.name},
            **made.info,
        }
        version = storing.register(connection, name, signature, artifact, info)
        if not no_deploy:
            storing.deploy(connection, name, version)
    if as_json:
        print_json(
            {"model": name, "version": version, "deployed": not no_deploy, "signature": signature.to_json()}
        )
        return
    console.print(
        f"[bold]{escape(name)}[/] version {version}: {signature.task}, {len(signature.features)} features, "
        f"tried on {rows} sample rows" + (", not deployed" if no_deploy else ", deployed"),
        highlight=False,
    )
    console.print(f"inline SQL: {escape(made.text)}", highlight=False, soft_wrap=True)
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

    with connect_installed(dsn) as connection:
        artifact = storing.export(connection, name, version)
    partial = file.with_name(f".{file.name}.part")
    try:
        # a file that is there is whole
        partial.write_bytes(artifact)
        partial.replace(file)
    except OSError as error:
        raise InvalidInput(f"cannot write {str(file)!r}: {error.strerror}") from error
    console.print(f"{len(artifact):,} bytes in {escape(str(file))}", highlight=False, soft_wrap=True)


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
