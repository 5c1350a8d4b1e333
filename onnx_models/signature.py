"""Signature of a model: its features by name, its target and its outputs.

The signature travels inside the artifact, as the ONNX metadata property
``pgpredict.signature``, so that an artifact describes itself; the database
keeps the same JSON beside the version.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from .errors import InvalidSignature

METADATA_KEY = "pgpredict.signature"
FORMAT = 1

Task = Literal["binary", "multiclass", "regression"]
#: How a feature reaches the graph: text as strings, everything else as float64
#: (boolean 0/1; date, timestamp and timestamptz in seconds since 1970-01-01 00:00
#: UTC; time in seconds since midnight; NULL as NaN).
Kind = Literal["number", "boolean", "date", "timestamp", "timestamptz", "time", "text"]
#: Text that stands for NULL in a string tensor, which has no NULL of its own. It begins with a
#: Unicode noncharacter, and a feature with this very text is refused.
NULL_TEXT = "\ufdd0NULL"

#: PostgreSQL's type names (``format_type``, without modifiers) that a feature may have.
KINDS: Mapping[str, Kind] = {
    "smallint": "number",
    "integer": "number",
    "bigint": "number",
    "real": "number",
    "double precision": "number",
    "numeric": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
    "text": "text",
    "character varying": "text",
    "character": "text",
    "uuid": "text",
}
#: a type that is none of :data:`KINDS`, as ``format_type`` writes it: an enum, with its schema or without
_TYPE_NAME = re.compile(r"""(?:(?:[a-z_][a-z0-9_]*|"(?:[^"]|"")+")\.)?(?:[a-z_][a-z0-9_]*|"(?:[^"]|"")+")""")


@dataclasses.dataclass(frozen=True)
class Feature:
    """One input of a model.

    :ivar name: the column's name in the training query
    :ivar type: PostgreSQL's name of its type without modifiers; an enum keeps its own name
    :ivar kind: how its values reach the graph
    :ivar nullable: whether NULL was seen in training
    :ivar categories: the texts that the graph knows, for text features that are encoded by category
    """

    name: str
    type: str
    kind: Kind
    nullable: bool = True
    categories: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Target:
    """What a model predicts.

    :ivar name: the target column's name in the training query
    :ivar type: PostgreSQL's name of its type; predictions come back in it
    """

    name: str
    type: str


@dataclasses.dataclass(frozen=True)
class Binding:
    """How features and outputs meet the graph's tensors.

    :ivar layout: ``columns``: one (rows, 1) input per feature, named as in ``inputs``;
        ``matrix``: one (rows, features) input
    :ivar inputs: the graph's input names, in the order of the features, or the one matrix
    :ivar label: output with the predicted class label or index, or the regression's value
    :ivar probabilities: output of shape (rows, classes), or of one probability of the second class;
        classification only
    :ivar labels: for classification, what the label output holds, in the order of the classes:
        integers or texts
    """

    layout: Literal["columns", "matrix"]
    inputs: tuple[str, ...]
    label: str | None
    probabilities: str | None = None
    labels: tuple[int | str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Signature:
    """Everything that a caller needs to know of a model.

    :ivar classes: class labels as PostgreSQL writes them as text (booleans as ``true``, ``false``), in the
        order of the probabilities; empty for regression
    :ivar on_missing: what NULL features become: ``impute`` where the graph handles NULL, else ``error``
    """

    task: Task
    target: Target
    features: tuple[Feature, ...]
    binding: Binding
    classes: tuple[str, ...] = ()
    on_missing: Literal["impute", "error"] = "impute"

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        :raises InvalidSignature: naming the part that does not
        """
        names = [feature.name for feature in self.features]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise InvalidSignature(f"feature {doubled[0]!r} appears twice")
        if not names:
            raise InvalidSignature("a model needs at least one feature")
        self._check_types()
        wanted = 1 if self.binding.layout == "matrix" else len(names)
        if len(self.binding.inputs) != wanted:
            raise InvalidSignature(
                f"{len(self.binding.inputs)} inputs of the graph for {len(names)} features"
            )
        if self.binding.layout == "matrix" and any(feature.kind == "text" for feature in self.features):
            raise InvalidSignature("a matrix input takes no text features")
        if (self.task == "regression") == bool(self.classes):
            raise InvalidSignature(f"a {self.task} model with {len(self.classes)} classes")

    def _check_types(self) -> None:
        """Refuse types that are no names: they come from files and become part of SQL that others run."""
        for feature in self.features:
            if KINDS.get(feature.type, "text") != feature.kind:
                raise InvalidSignature(
                    f"feature {feature.name!r} of type {feature.type!r} is no {feature.kind}"
                )
        if self.target.type not in KINDS and not _TYPE_NAME.fullmatch(self.target.type):
            raise InvalidSignature(f"target type {self.target.type!r} is no name of a type")

    def to_json(self) -> dict[str, Any]:
        """Return the signature as a JSON object."""
        return {"format": FORMAT, **json.loads(json.dumps(dataclasses.asdict(self)))}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Signature:
        """Read what :meth:`to_json` wrote.

        :raises InvalidSignature: if a part is missing or of the wrong kind
        """
        if value.get("format") != FORMAT:
            raise InvalidSignature(
                f"signature format {value.get('format')!r} is unknown",
                hint="upgrade pgpredict, or train the model again",
            )
        try:
            return cls(
                task=value["task"],
                target=Target(**value["target"]),
                features=tuple(Feature(**_tuples(feature)) for feature in value["features"]),
                binding=Binding(**_tuples(value["binding"])),
                classes=tuple(value["classes"]),
                on_missing=value["on_missing"],
            )
        except (KeyError, TypeError) as error:
            raise InvalidSignature(f"signature is incomplete: {error}") from error


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
