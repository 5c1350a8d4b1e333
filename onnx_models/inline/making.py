"""A version's SQL form when it is stored: certified in the database, or the reason why there is none."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import psycopg

from onnx_models.families import ALGORITHMS
from onnx_models.scoring import Model

from .building import build, unused
from .certificate import certify
from .form import InlineForm
from .raw import NoForm

if TYPE_CHECKING:
    from onnx_models.training import Trained

#: metadata property in which an artifact of ours carries its form, for the database that imports it
METADATA_KEY = "pgpredict.inline"
#: characters of it that are read
_LONGEST = 8_000_000


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
