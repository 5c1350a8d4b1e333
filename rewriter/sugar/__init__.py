"""Table-valued forms of other products, turned into scalar ones, and forms put where they are answered best.

Each module finds one form among the words of a statement and splices its meaning in its place. A form may
stand inside of another one's query, so they are tried until none is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rewriter.catalog import Catalog
from rewriter.scan import Token, scan
from rewriter.splice import Text

from .bigquery import bigquery
from .dmx import dmx
from .join_on import join_on
from .joined import joined
from .tsql import tsql

#: changes the first form of its sort, or all of them; None if there is none
Sugar = Callable[[str, Sequence[Token], Catalog], Text | None]
SUGARS: tuple[Sugar, ...] = (tsql, bigquery, dmx, joined, join_on)


def desugar(sql: str, tokens: Sequence[Token], catalog: Catalog) -> Text | None:
    """Return the statement with scalar forms in place of table-valued ones; None if it has none.

    :raises RewriteError: for a form that is wrong, placed into the user's statement
    """
    text: Text | None = None
    while True:
        for sugar in SUGARS:
            if text is None:
                changed = sugar(sql, tokens, catalog)
            else:
                with text.placing_errors():
                    changed = sugar(text.sql, tokens, catalog)
            if changed is not None:
                text = changed if text is None else changed.through(text)
                tokens = scan(text.sql)
                break
        else:
            return text
