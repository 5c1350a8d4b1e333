"""A version's SQL form when it is stored: certified in the database, or the reason why there is none."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import psycopg

from onnx_models.artifact import parse
from onnx_models.families import ALGORITHMS
from onnx_models.scoring import Model

from .building import FORM_KEY, build, input_of, unused
from .certificate import certify
from .codec import InvalidForm
from .form import InlineForm
from .raw import NoForm
from .rows import made_up

if TYPE_CHECKING:
    from onnx_models.training import Trained

#: characters of an artifact's form that are read
_LONGEST = 8_000_000
#: made-up rows that an imported model is tried on, beside those at the borders
_MADE_UP = 5_000


@dataclasses.dataclass(frozen=True)
class Made:
    """What is stored with a version.

    :ivar inline: the form as JSON, None without a certificate
    :ivar unused: features that cannot change any output
    :ivar text: "certified on 4,312 rows", or "no: ..." with the reason
    :ivar seconds: that it took
    """

    inline: dict[str, Any] | None
    unused: tuple[str, ...]
    text: str
    seconds: float

    @property
    def info(self) -> dict[str, Any]:
        """Return the entries for :func:`onnx_models.storing.register`."""
        return {"inline": self.inline, "unused": list(self.unused)}


def form_of(trained: Trained) -> InlineForm:
    """Return the form of a trained model, not certified.

    :raises NoForm: saying why there is none
    """
    raw = ALGORITHMS[trained.algorithm].raw
    if raw is None:
        raise NoForm(f"{trained.algorithm} is not written out as SQL")
    return build(trained.fitted.preprocessing, raw(trained.fitted.estimator), trained.signature)


def make(connection: psycopg.Connection, trained: Trained, seed: int = 0) -> Made:
    """Build and certify the form of a trained model; that it has none is no error.

    :param connection: to the database that the model goes into, outside a transaction
    """
    started = time.monotonic()
    raw = ALGORITHMS[trained.algorithm].raw
    without = unused(trained.fitted.preprocessing, raw(trained.fitted.estimator) if raw else None)
    try:
        form = form_of(trained)
        found = certify(connection, form, Model.load(trained.artifact), trained.sample, seed)
    except NoForm as error:
        return Made(None, without, f"no: {error}", time.monotonic() - started)
    return Made(form.to_json(), without, str(found), time.monotonic() - started)


def make_imported(connection: psycopg.Connection, artifact: bytes) -> Made:
    """Certify the form that an exported artifact of ours brings along, on rows that are made up.

    Which features are unused only the fitted pipeline tells.
    """
    started = time.monotonic()
    try:
        form, model = _form_in(artifact)
        rows = made_up(form, model.signature, _MADE_UP, seed=0)
        found = certify(connection, form, model, rows)
    except NoForm as error:
        return Made(None, (), f"no: {error}", time.monotonic() - started)
    return Made(form.to_json(), (), str(found), time.monotonic() - started)


def _form_in(artifact: bytes) -> tuple[InlineForm, Model]:
    entries = {entry.key: entry.value for entry in parse(artifact).metadata_props}
    text = entries.get(FORM_KEY)
    if text is None:
        raise NoForm("the file has no SQL form")
    model = Model.load(artifact)
    try:
        value = json.loads(text) if len(text) <= _LONGEST else None
        form = InlineForm.from_json(value if isinstance(value, dict) else {})
    except (ValueError, RecursionError, InvalidForm) as error:
        raise NoForm("the file's SQL form cannot be read") from error
    wanted = tuple(input_of(item) for item in model.signature.features if item.name in form.features)
    if form.inputs != wanted:
        raise NoForm("the file's SQL form is about other features")
    return form, model
