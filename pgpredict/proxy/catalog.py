"""The rewriter's catalog of one statement that a client sends through the proxy."""

from __future__ import annotations

from pgpredict.catalog.questions import Description
from pgpredict.catalog.session import SessionCatalog


class ProxyCatalog(SessionCatalog):
    """Asks the session whose statement is rewritten, also for descriptions as the client is to get them."""

    def description(self, sql: str) -> bytes | None:
        """Return the body of a query's RowDescription; None where there is none, or one must not ask."""
        if not self._may_fail:
            return None
        question = Description(sql, tuple(self.parameter_types(sql)))
        value = self._ask([question])[0].value
        self.findings.append((question, value))
        return value if isinstance(value, bytes) else None
