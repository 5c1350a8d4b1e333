"""Rules that make a plan cheaper without changing its rows: one rule a module, in a visible order."""

from __future__ import annotations

from typing import Protocol

from rewriter.plan import Plan

from .before_join import before_join
from .derive_filter import derive_filter
from .drop_unread import drop_unread
from .filter_first import filter_first
from .gather_lateral import gather_lateral
from .limit_first import limit_first
from .predict_once import predict_once
from .prune_features import prune_features
from .prune_tree import prune_tree
from .share_runs import share_runs

__all__ = ["EARLY", "LATE", "RULES", "Rule"]


class Rule(Protocol):
    """Changes a plan in place; the statement's rows stay the same."""

    __name__: str

    def __call__(self, plan: Plan) -> None:
        """Change the plan."""
        ...


#: Before each run has its way: what is not needed needs no way.
EARLY: tuple[Rule, ...] = (drop_unread, prune_features, gather_lateral)
#: After that. The order matters: a LIMIT can only go before inference once no filter is left behind it.
LATE: tuple[Rule, ...] = (
    share_runs,
    filter_first,
    prune_tree,
    derive_filter,
    predict_once,
    limit_first,
    before_join,
)
RULES: tuple[Rule, ...] = (*EARLY, *LATE)
