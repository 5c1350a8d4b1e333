"""Training inside a database: read, train, verify, store, deploy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import psycopg

from . import storing
from .inline import making
from .reading import Source, read
from .training import Options, Progress, Trained, check_options, train_table


@dataclasses.dataclass(frozen=True)
class Stored:
    """A model in the database.

    :ivar version: its number
    :ivar deployed: whether it is the version that answers now
    :ivar query: what it was trained on
    :ivar inline: whether statements may be answered by plain SQL: "certified on ... rows", or "no: ..."
    """

    name: str
    version: int
    deployed: bool
    query: str
    trained: Trained
    inline: str


def train(
    connection: psycopg.Connection,
    name: str,
    source: Source,
    options: Options | None = None,
    *,
    deploy: bool = True,
    report: Callable[[Progress], None] | None = None,
) -> Stored:
    """Train a model from a query's rows and store it as a new version.

    Nothing is written before the model is verified. The version is committed first and deployed in a
    transaction of its own, so wherever this ends, the model is as it was or as it shall be.

    :param connection: outside a transaction; closed transactions are all it is left with
    :param report: told what is being done
    :raises InvalidTrainingData: if the rows do not make a model
    :raises InvalidParameter: for a column, algorithm, task or hyperparameter that there is not
    :raises ParityError: if ONNX Runtime and scikit-learn do not agree
    """
    tell = report or (lambda progress: None)
    check_options(options or Options())
    storing.check_can_store(connection, name)
    tell(Progress("reading", "the training query"))
    table = read(connection, source, lambda rows: tell(Progress("reading", f"{rows:,} rows")))
    if table.dropped:
        tell(Progress("warning", f"{table.dropped:,} rows without a {source.target} are left out"))
    trained = train_table(table, options, tell)
    tell(Progress("inline", "the SQL form against ONNX Runtime, in the database"))
    made = making.make(connection, trained, (options or Options()).seed)
    tell(Progress("storing", f"{len(trained.artifact):,} bytes"))
    info = {
        "algorithm": trained.algorithm,
        "parameters": trained.parameters,
        "metrics": trained.metrics,
        "parity": {**trained.parity, "inline": made.text},
        "training": {
            "query": source.query.strip(),
            "exclude": list(source.exclude),
            "time": source.time,
            **trained.training,
        },
        **made.info,
    }
    version = storing.register(connection, name, trained.signature, trained.artifact, info)
    if deploy:
        storing.deploy(connection, name, version)
    return Stored(name, version, deploy, source.query.strip(), trained, made.text)
