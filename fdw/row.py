"""The row form: features from conditions, a prediction for each combination of them.

A feature is bound by ``=`` (a constant, a parameter or a column of a join), IN, IS NULL or a bare boolean;
``features``, a JSON object, binds all others at once. What was bound goes back unchanged.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import values
from .client import Client
from .errors import InvalidFeatures, ProtocolError
from .interrupts import database, extra_float_digits
from .protocol import Header
from .runtime import check_answer
from .values import Feature, Scalar

#: more combinations of IN lists than this are refused
MAX_COMBINATIONS = 1000
#: up to this many floats are tried in all combinations of their two readings
_MAX_READINGS = 3
_ANSWERS: dict[str, tuple[type, ...]] = {
    "prediction": (str, int, float),
    "probability": (int, float),
    "probabilities": (list,),
}


class RowTable:
    """A model table.

    :param options: of the foreign table
    :param features: in the order of the columns
    :param artifact: name of the column that holds the artifact
    :param document: name of the column that takes all features as a JSON object
    :param roles: column names by role
    :param classes: class label by name of the column with its probability
    """

    def __init__(
        self,
        options: Mapping[str, str],
        features: Sequence[Feature],
        artifact: str,
        document: str,
        roles: Mapping[str, str],
        classes: Mapping[str, str],
    ) -> None:
        self._model = options.get("model", "")
        self._regression = options.get("task") == "regression"
        self._features = {feature.name: feature for feature in features}
        self._artifact = artifact
        self._document = document
        self._prediction = roles["prediction"]
        self._probability = roles.get("probability")
        self._classes = classes

    def predict(self, client: Client, quals: Sequence[Any], columns: set[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows that fit the conditions; PostgreSQL drops those that do not.

        :param quals: conditions
        :param columns: names of the columns that are needed
        :raises InvalidFeatures: for features that are missing, unknown or of a wrong type
        """
        bound = self._bound(quals)
        artifact = bound.pop(self._artifact, [None])
        documents = bound.pop(self._document, [None])
        for document in documents:
            given = self._document_values(document)
            self._require_all(bound, given)
            known = {name: value for name, value in given.items() if name in self._features}
            for combination in itertools.product(*bound.values()):
                inputs = dict(zip(bound, combination))
                row: dict[str, Any] = {self._artifact: artifact[0], self._document: document}
                row.update(
                    {name: values.to_column(self._features[name], value) for name, value in known.items()}
                )
                request = {
                    name: values.from_json(self._features[name], value) for name, value in known.items()
                }
                request.update(
                    {name: values.from_column(self._features[name], value) for name, value in inputs.items()}
                )
                row.update(self._outputs(client, artifact[0], request, columns))
                for reading in self._readings(inputs):
                    yield {**row, **reading}

    def _bound(self, quals: Sequence[Any]) -> dict[str, list[Any]]:
        """Return the values that each bound column may have, one unless it was bound by IN."""
        bound: dict[str, list[Any]] = {}
        listed: dict[str, list[Any]] = {}
        for qual in quals:
            name, operator, value = qual.field_name, qual.operator, qual.value
            if name not in self._features and name not in (self._artifact, self._document):
                continue
            if operator == "=":
                bound.setdefault(name, [value])
            elif isinstance(operator, tuple):
                if operator[0] == "=" and operator[1]:
                    listed.setdefault(name, self._listed(name, value))
            elif self._is_boolean(name):
                truth = _boolean_test(operator, value)
                if truth is not _UNKNOWN:
                    bound.setdefault(name, [truth])
        combined = {**listed, **bound}
        if listed and math.prod(map(len, combined.values())) > MAX_COMBINATIONS:
            raise InvalidFeatures(
                f"more than {MAX_COMBINATIONS} combinations of features in one condition",
                hint="join the model table to a table or VALUES list of the combinations",
            )
        self._check_floats(combined)
        return combined

    def _listed(self, name: str, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise InvalidFeatures(
                f"feature {name!r} is compared with a list that is not constant",
                hint="join the model table to the values instead",
                sqlstate="0A000",
            )
        return list(dict.fromkeys(item for item in value if item is not None))

    def _is_boolean(self, name: str) -> bool:
        return name in self._features and self._features[name].kind == "boolean"

    def _check_floats(self, bound: Mapping[str, Sequence[Any]]) -> None:
        if extra_float_digits() >= 1:
            return
        floats = [name for name in bound if self._column_type(name) == "double precision"]
        if floats and any(isinstance(item, str) for item in bound[floats[0]]):
            raise InvalidFeatures(
                f"feature {floats[0]!r} arrives rounded because extra_float_digits is {extra_float_digits()}",
                hint="SET extra_float_digits = 1",
                sqlstate="55000",
            )

    def _column_type(self, name: str) -> str | None:
        return self._features[name].column_type if name in self._features else None

    def _document_values(self, document: Any) -> dict[str, Any]:
        if document is None:
            return {}
        try:
            given = json.loads(document)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise InvalidFeatures(
                "features is not a JSON object",
                hint="""write features = '{"name": value, ...}'""",
                sqlstate="22032",
            )
        return given

    def _require_all(self, bound: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Refuse features that are missing or given twice.

        A name in ``features`` that the model does not have is only told of when one is missing, so
        that a whole row of a table can be passed.
        """
        twice = [name for name in self._features if name in bound and name in given]
        if twice:
            raise InvalidFeatures(f"feature {_names(twice)} is given twice, as a column and in features")
        missing = [name for name in self._features if name not in bound and name not in given]
        if not missing:
            return
        hint = "give each feature a value with = or IS NULL"
        unknown = sorted(set(given) - set(self._features))
        booleans = [name for name in missing if self._is_boolean(name)]
        if unknown:
            hint += f"; features has the unknown {_names(unknown)}"
        if booleans:
            hint += f"; write a constant boolean as {booleans[0]} = ANY ('{{true}}')"
        if not bound and not given:
            hint += "; join several models as LATERAL (SELECT ... FROM models.x WHERE ... OFFSET 0) each"
        raise InvalidFeatures(f"model {self._model!r} needs a value for {_names(missing)}", hint=hint)

    def _readings(self, inputs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield the inputs with each reading of their floats (see :func:`values.other_reading`)."""
        yield inputs
        others = {
            name: other
            for name, value in inputs.items()
            # most are longer than the text of a float4 can be
            if not (isinstance(value, str) and len(value) > values.LONGEST_FLOAT4)
            and (other := values.other_reading(self._features[name], value)) is not None
        }
        if not others:
            return
        if len(others) <= _MAX_READINGS:
            subsets = [
                chosen
                for size in range(1, len(others) + 1)
                for chosen in itertools.combinations(others, size)
            ]
        else:
            # in all likelihood the columns that are float4 are the ones that the model was trained on
            real = tuple(name for name in others if self._features[name].type == "real")
            subsets = [real, tuple(others)] if 0 < len(real) < len(others) else [tuple(others)]
        for chosen in subsets:
            yield {**inputs, **{name: others[name] for name in chosen}}

    def _outputs(
        self, client: Client, artifact: Any, features: Mapping[str, Scalar], columns: set[str]
    ) -> dict[str, Any]:
        wanted = self._wanted(columns)
        if not wanted or artifact is None:
            return {}
        header, _ = client.request(
            {
                "do": "predict",
                "artifact": artifact,
                "database": database(),
                "outputs": wanted,
                "features": features,
            }
        )
        check_answer(header)
        for name in wanted:
            if not isinstance(header.get(name), _ANSWERS[name]):
                raise ProtocolError(f"the inference runtime answered {name} {header.get(name)!r}")
        return self._output_columns(header)

    def _wanted(self, columns: set[str]) -> list[str]:
        wanted = []
        if self._prediction in columns:
            wanted.append("prediction")
        if self._probability in columns:
            wanted.append("probability")
        if not columns.isdisjoint(self._classes):
            wanted.append("probabilities")
        return wanted

    def _output_columns(self, header: Header) -> dict[str, Any]:
        row = {self._prediction: header.get("prediction")}
        if self._probability is not None:
            row[self._probability] = header.get("probability")
        probabilities = dict(zip(header.get("classes") or (), header.get("probabilities") or ()))
        row.update({name: probabilities.get(label) for name, label in self._classes.items()})
        return row


_UNKNOWN = object()


def _boolean_test(operator: str, value: Any) -> Any:
    """Return the one value of a boolean column that a test leaves, as PostgreSQL writes it, or _UNKNOWN."""
    truth = {True: "t", False: "f", "t": "t", "f": "f", "true": "t", "false": "f"}.get(value, value)
    if operator == "IS":
        return truth
    if operator == "<>" and truth in ("t", "f"):
        return "f" if truth == "t" else "t"
    return _UNKNOWN


def _names(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
