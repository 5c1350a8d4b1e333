"""Operations that make models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db.utils import NotSupportedError

from pgpredict.django import output, training

from .base import ADDITION, ModelOperation, exists


class Making(ModelOperation):
    """Makes a version of a model."""

    reduces_to_sql = False
    category = ADDITION
    #: whether an earlier version is there, which answers again when this is reversed
    _another = False

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the model, or have the earlier version answer again; what is not there stays so.

        It was skipped, or dropped since, or by an attempt at this that failed after it.
        """
        if self._may_run(app_label, schema_editor) and exists(schema_editor, self.name):
            action = "rollback" if self._another else "drop_model"
            schema_editor.execute(f"SELECT ml.{action}(%s)", [self.name])
            output.forget()

    def _options(self, *names: str) -> dict[str, Any]:
        return {name: self._given[name] for name in names if name in self._given}

    def _require_no_transaction(self, schema_editor: Any) -> None:
        if schema_editor.connection.in_atomic_block:
            raise NotSupportedError(
                f"{type(self).__name__}({self.name!r}) cannot run inside a transaction "
                "(set atomic = False on the migration)"
            )


class TrainModel(Making):
    """Train a model and deploy it; reversed, the model is dropped.

    :param query: SQL, or a function of the migration's apps that returns a queryset of ``values()``
    :param target: the column to predict
    :param algorithm, parameters, exclude, time, task, test_size, seed, max_categories: as of
        :func:`pgpredict.django.training.train`
    :param retrain: the model is there already: this makes its next version, and reversed the one before
        answers again
    :param skip_without_rows: do nothing where the query gives no rows, as in a test database
    :param elidable: whether it may go when migrations are squashed
    :param hints: for routers
    """

    def __init__(
        self,
        name: str,
        query: Any,
        target: str,
        algorithm: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        exclude: Sequence[str] | None = None,
        time: str | None = None,
        task: str | None = None,
        test_size: float | None = None,
        seed: int | None = None,
        max_categories: int | None = None,
        retrain: bool = False,
        skip_without_rows: bool = False,
        elidable: bool = False,
        hints: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            name=name, query=query, target=target, algorithm=algorithm, parameters=parameters,
            exclude=exclude, time=time, task=task, test_size=test_size, seed=seed,
            max_categories=max_categories, retrain=retrain, skip_without_rows=skip_without_rows,
            elidable=elidable, hints=hints,
        )  # fmt: skip
        self.query, self.target = query, target
        self._another, self._skip = retrain, skip_without_rows

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Train it."""
        if not self._may_run(app_label, schema_editor):
            return
        self._require_no_transaction(schema_editor)
        alias = schema_editor.connection.alias
        query = self.query(from_state.apps) if callable(self.query) else self.query
        if self._skip and not training.has_rows(query, alias):
            return
        names = ("algorithm", "parameters", "exclude", "time", "task", "test_size", "seed", "max_categories")
        training.train(self.name, query, self.target, using=alias, **self._options(*names))

    def describe(self) -> str:
        """Say what it does."""
        return f"Train model {self.name}"


class ImportModel(Making):
    """Store an ONNX file as a model and deploy it; reversed, the model is dropped.

    :param file: its path, best beside the migration: ``Path(__file__).with_name("late.onnx")``
    :param features, classes, task, target, output_name, on_missing: what the graph does not tell, as of
        :func:`pgpredict.django.training.import_model`
    :param another: the model is there already: this makes its next version, and reversed the one before
        answers again
    :param elidable: whether it may go when migrations are squashed
    :param hints: for routers
    """

    def __init__(
        self,
        name: str,
        file: str | Path,
        features: Sequence[tuple[str, str | None]] | None = None,
        classes: Sequence[str] | None = None,
        task: str | None = None,
        target: tuple[str, str | None] | None = None,
        output_name: str | None = None,
        on_missing: str | None = None,
        another: bool = False,
        elidable: bool = False,
        hints: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            name=name, file=file, features=features, classes=classes, task=task, target=target,
            output_name=output_name, on_missing=on_missing, another=another, elidable=elidable, hints=hints,
        )  # fmt: skip
        self.file, self._another = file, another

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Import it."""
        if not self._may_run(app_label, schema_editor):
            return
        self._require_no_transaction(schema_editor)
        options = self._options("features", "classes", "task", "target", "output_name", "on_missing")
        training.import_model(self.name, self.file, using=schema_editor.connection.alias, **options)

    def describe(self) -> str:
        """Say what it does."""
        return f"Import model {self.name}"
