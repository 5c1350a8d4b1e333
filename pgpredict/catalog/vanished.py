"""A model that others have dropped while a connection took it for granted, within a transaction.

The statement cannot be sent again there, and PostgreSQL's error is about a relation that no user has written.
"""

from __future__ import annotations

import re

from rewriter.errors import UnknownModel

#: whatever quotes the server's language has
_RELATION = re.compile(r"\bmodels\.(.+?)(?:__batch|__version)?[\"'»“”「」]")
_UNDEFINED_TABLE = "42P01"


def vanished(sqlstate: str | None, message: str | None) -> UnknownModel | None:
    """Return what an error of the server's means, if it means that a model is gone.

    :param message: the error's primary message
    """
    found = _RELATION.search(message or "") if sqlstate == _UNDEFINED_TABLE else None
    if found is None:
        return None
    return UnknownModel(
        f'model "{found[1]}" does not exist any more',
        hint="somebody has dropped it meanwhile; SELECT name FROM ml.models lists those that are left",
    )
