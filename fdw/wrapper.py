"""The class that Multicorn loads: translates between PostgreSQL and the runtime, and nothing else.

No exception leaves :meth:`ModelTable.execute`. Multicorn would report it as an internal error (SQLSTATE
XX000, in version 1.4 with a traceback) and leak memory for it; instead a row is returned
whose column "$problem" makes PostgreSQL raise the error, see ``ml_internal.problem`` in ``sql/``.

When a statement is cancelled, a row of NULLs is returned: it fails the condition on the artifact, so
PostgreSQL goes on to ask for the next row, looks at its flags before, and ends the statement itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from multicorn import ForeignDataWrapper

from .batch import predict_batch
from .client import shared_client
from .errors import FdwError, Interrupted, InvalidOption
from .planning import PathKeys, Planner
from .row import RowTable
from .values import Feature

DEFAULT_SOCKET = "/run/pgpredict/runtime.sock"
DEFAULT_TIMEOUT = 300.0

Row = list[Any]


class ModelTable(ForeignDataWrapper):  # type: ignore[misc]
    """A model as a foreign table, a row or a batch at a time.

    :param options: of the foreign table (``form``: ``row`` or ``batch``; ``task``) and of the
        server (``socket``, ``timeout`` in seconds)
    :param columns: Multicorn's column definitions by name, each with the option ``role``
    """

    def __init__(self, options: dict[str, str], columns: dict[str, Any]) -> None:
        super().__init__(options, columns)
        self._options = options
        self._positions = {name: place for place, name in enumerate(columns)}
        self._roles = {column.options.get("role", ""): name for name, column in columns.items()}
        self._classes = {
            name: column.options["class"]
            for name, column in columns.items()
            if column.options.get("role") == "class"
        }
        features = [
            Feature(name, column.options["kind"], column.options["type"], column.base_type_name)
            for name, column in columns.items()
            if column.options.get("role") == "feature"
        ]
        self._runtime: tuple[str, float] | None = None
        artifact = self._roles["artifact"]
        self._row_table: RowTable | None = None
        if options.get("form") == "batch":
            self._planner = Planner(artifact, [self._roles["batch"]])
        else:
            document = self._roles["features"]
            self._planner = Planner(artifact, [feature.name for feature in features], document)
            self._row_table = RowTable(options, features, artifact, document, self._roles, self._classes)

    def get_rel_size(self, quals: list[Any], columns: list[str]) -> tuple[int, int]:
        """Return the estimated number of rows and their width in bytes."""
        return self._planner.rows(quals), 8 * max(1, len(columns))

    def get_path_keys(self) -> PathKeys:
        """Return the sets of columns that make a parameterised path, with its rows."""
        return self._planner.path_keys()

    def begin(self, serializable: bool) -> None:
        """Forget an unfinished planning: a transaction begins. This must not raise, nor may the next two."""
        self._planner.reset()

    def rollback(self) -> None:
        """Forget an unfinished planning: the transaction failed, perhaps in the middle of it."""
        self._planner.reset()

    def sub_rollback(self, level: int) -> None:
        """Forget an unfinished planning: a subtransaction failed."""
        self._planner.reset()

    def can_sort(self, sortkeys: Any) -> list[Any]:
        """Sorting is PostgreSQL's."""
        return []

    def explain(self, *args: Any, **kwargs: Any) -> list[str]:
        """Return nothing: the parameters have no values yet, and nothing may be computed from them."""
        return []

    def execute(self, quals: Sequence[Any], columns: Iterable[str], *_: Any, **__: Any) -> Iterator[Row]:
        """Return the rows of a scan; never None and never an exception.

        All at once rather than from a generator: where a statement fails, Multicorn leaks what
        it iterates over, and a generator would hold everything that it has seen.
        """
        try:
            return iter([self._row(values) for values in self._predict(quals, set(columns))])
        except Interrupted:
            return iter([self._row({})])
        except FdwError as error:
            return iter([self._problem(error)])
        except Exception as error:  # noqa: BLE001 (see the module)
            message = f"internal error of the model table: {type(error).__name__}: {error}"
            return iter([self._problem(FdwError(message, sqlstate="XX000"))])

    def _row(self, values: Mapping[str, Any]) -> Row:
        row: Row = [None] * len(self._positions)
        for name, value in values.items():
            row[self._positions[name]] = value
        return row

    def _predict(self, quals: Sequence[Any], columns: set[str]) -> Iterator[dict[str, Any]]:
        if self._runtime is None:
            path = self._options.get("socket") or os.environ.get("PGPREDICT_SOCKET") or DEFAULT_SOCKET
            self._runtime = path, _seconds(self._options.get("timeout"))
        client = shared_client(*self._runtime)
        if self._row_table is None:
            return predict_batch(client, self._roles, quals, columns)
        return self._row_table.predict(client, quals, columns)

    def _problem(self, error: FdwError) -> Row:
        fields = {"message": _clean(error.message), "hint": _clean(error.hint), "sqlstate": error.sqlstate}
        return self._row({self._roles["problem"]: json.dumps(fields)})


def _seconds(option: str | None) -> float:
    """Return the option ``timeout`` as a number.

    :raises InvalidOption: if it is no positive number
    """
    try:
        seconds = float(option) if option else DEFAULT_TIMEOUT
    except ValueError:
        seconds = 0.0
    # not "<= 0": NaN is no number either
    if not seconds > 0:
        raise InvalidOption(
            f"option 'timeout' of the foreign server is {option!r} where seconds are due",
            hint="ALTER SERVER pgpredict OPTIONS (SET timeout '300')",
        )
    return seconds


def _clean(text: str | None) -> str | None:
    """Return a text without what PostgreSQL's json type refuses."""
    return text and text.replace("\0", "").encode("utf-8", "replace").decode()
