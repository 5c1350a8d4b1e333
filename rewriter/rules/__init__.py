"""Rules that make a plan cheaper without changing its rows: one rule a module, in a visible order."""

from __future__ import annotations

from typing import Protocol

from rewriter.plan import Plan

from .filter_first import filter_first
from .limit_first import limit_first
from .share_runs import share_runs

__all__ = ["RULES", "Rule"]


class Rule(Protocol):
    """Changes a plan in place; the statement's rows stay the same."""

    __name__: str

    def __call__(self, plan: Plan) -> None:
        """Change the plan."""
        ...


#: Explicit, because the order matters: a LIMIT can only go before inference once no filter is left behind it.
RULES: tuple[Rule, ...] = (filter_first, limit_first, share_runs)
