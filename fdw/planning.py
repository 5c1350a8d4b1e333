"""What the planner is told: one parameterised path per way to bind all inputs, and no other.

Multicorn turns a join into one ``execute()`` per outer row only where every column of a key that is
named here is compared with ``=``. A column compared with a constant counts as well, through its equivalence
class; IS NULL and the bare boolean (``flag`` for ``flag = true``) do not, so those are left out of the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

#: a table of this size is never scanned without its inputs
UNBOUND_ROWS = 100_000_000
PathKeys = list[tuple[tuple[str, ...], int]]


class Planner:
    """Row estimates and path keys of a foreign table.

    :param artifact: name of the column that holds the artifact
    :param features: names of the feature columns, or the one column of the batch form
    :param document: name of the column that takes all features at once, if there is one
    """

    def __init__(self, artifact: str, features: Sequence[str], document: Any = None) -> None:
        self._artifact = artifact
        self._features = tuple(features)
        self._document = document
        self.reset()

    def reset(self) -> None:
        """Forget what an earlier statement that failed in the middle of planning left behind."""
        self._unkeyed: list[frozenset[str]] = []
        self._answered = 0

    def rows(self, quals: Iterable[Any]) -> int:
        """Return the estimated rows of a scan without parameters.

        :param quals: conditions on constants
        """
        quals = list(quals)
        unkeyed = frozenset(
            qual.field_name for qual in quals if qual.field_name in self._features and _is_unkeyed(qual)
        )
        # PostgreSQL asks for the rows of all scans of a query before it asks for their keys, and does
        # not say which scan it asks about: as long as there are open ones, all their keys are offered.
        # A key of another scan matters only if this one has a join where the other has IS NULL, and
        # then it comes second.
        if self._answered >= len(self._unkeyed):
            self.reset()
        self._unkeyed.append(unkeyed)
        bound = {qual.field_name for qual in quals if qual.operator == "="}
        complete = self._artifact in bound and (bound.issuperset(self._features) or self._document in bound)
        return 1 if complete else UNBOUND_ROWS

    def path_keys(self) -> PathKeys:
        """Return the keys, longest first: of two paths that cost the same, PostgreSQL keeps the first."""
        self._answered += 1
        keys = {
            tuple(name for name in (self._artifact, *self._features) if name not in unkeyed)
            for unkeyed in self._unkeyed
        }
        ordered = sorted(keys, key=len, reverse=True)
        if self._document is not None:
            ordered.append((self._artifact, self._document))
        return [(key, 1) for key in ordered]


def _is_unkeyed(qual: Any) -> bool:
    """Tell whether a condition makes no equivalence class: not =, IS NULL, or a bare boolean."""
    return qual.operator != "=" or qual.value is None or qual.value == "t"
