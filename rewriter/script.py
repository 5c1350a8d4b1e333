"""Rewrites texts of several statements, which a client sends together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .catalog import Catalog
from .errors import RewriteError
from .rules import RULES, Rule
from .setting import Setting
from .split import split
from .statement import Rewritten, rewrite


@dataclasses.dataclass(frozen=True)
class Script:
    """The statements of a text, for PostgreSQL.

    :ivar sql: what PostgreSQL is to be given: one text again, so that it stays one transaction
    :ivar parts: (offset in :attr:`sql`, offset in the user's text, statement) of each
    """

    sql: str
    parts: tuple[tuple[int, int, Rewritten], ...]

    @property
    def changed(self) -> bool:
        """Whether it differs from what the user wrote."""
        return any(rewritten.changed for *_, rewritten in self.parts)

    def origin(self, position: int) -> int | None:
        """Return the position in the user's text of a position in :attr:`sql`, both 1-based."""
        if position < 1:
            return None
        begun, start, rewritten = next(part for part in reversed(self.parts) if part[0] < position)
        found = rewritten.origin(position - begun)
        return None if found is None else found + start


def rewrite_script(
    sql: str, catalog: Catalog, *, rules: Sequence[Rule] = RULES, setting: Setting | None = None
) -> Script:
    """Rewrite each statement of a text; all are rewritten before the first one runs.

    :raises RewriteError: as :func:`rewriter.rewrite`; its position is one in the whole text
    """
    parts: list[tuple[int, int, Rewritten]] = []
    target = ""
    for number, (start, part) in enumerate(split(sql)):
        try:
            rewritten = rewrite(part, catalog, rules=rules, setting=setting)
        except RewriteError as error:
            if error.position is not None:
                error.position += start
            if number and error.hint is None and error.sqlstate in ("42P01", "42703"):
                error.hint = "statements of one message are rewritten before the first of them runs"
            raise
        parts.append((len(target), start, rewritten))
        target += rewritten.sql
    return Script(target, tuple(parts))
