"""Chooses the way of each run: written out as SQL, row by row in its place, or in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .emit import can_inline
from .errors import NotSupported
from .plan import Run, Way
from .scan import Token
from .scope import is_word


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the caller wants.

    :ivar way: the way that is taken wherever it can be; None leaves the choice to us
    """

    way: Way | None = None


@dataclasses.dataclass(frozen=True)
class Stored:
    """Whether the statement's text is kept by the server, so that later deployments must be seen in it.

    :ivar kept: whether it is
    :ivar is_view: whether others will filter it, which only rows can answer without predicting all
    """

    kept: bool = False
    is_view: bool = False


def stored(tokens: Sequence[Token]) -> Stored:
    """Tell what becomes of a statement."""
    if is_word(tokens, 0, "prepare"):
        return Stored(kept=True)
    if not is_word(tokens, 0, "create"):
        return Stored()
    index = 1
    while is_word(
        tokens, index, "or", "replace", "temp", "temporary", "global", "local", "unlogged", "recursive"
    ):
        index += 1
    if is_word(tokens, index, "view"):
        return Stored(kept=True, is_view=True)
    return Stored(kept=is_word(tokens, index, "materialized", "function", "procedure", "rule", "policy"))


def choose(run: Run, sql: str, setting: Setting, kept: Stored, *, block: bool) -> None:
    """Set a run's way and the reason for it.

    :param block: whether it stands where batches can be made
    :raises NotSupported: if the caller wants a way that there is not
    """
    refusal = next(
        (reason for output in run.outputs for call in output.calls if (reason := can_inline(call, run, sql))),
        None,
    )
    if refusal is None and kept.kept and not run.model.pinned:
        refusal = "the statement is stored and must see later deployments"
    if setting.way == "inline" and refusal is not None:
        raise NotSupported(
            f"{run.call.name.upper()} cannot be written out as SQL: {refusal}",
            hint="leave the way to us, or take 'row' or 'batch'",
            position=run.call.position,
        )
    if refusal is None and setting.way in (None, "inline"):
        run.way, run.reason = "inline", "certified to be equal to its ONNX form"
    elif not block:
        run.way, run.reason = "row", "it stands where rows cannot be collected"
    elif setting.way is not None:
        run.way, run.reason = setting.way, "as set"
    elif kept.is_view:
        run.way, run.reason = "row", "whoever reads the view may want few of its rows"
    else:
        run.way, run.reason = "batch", "rows in chunks"
