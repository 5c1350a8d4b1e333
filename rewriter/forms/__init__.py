"""Our syntax as it stands in a statement: every form becomes one :class:`Call`."""

from __future__ import annotations

from .call import Call, Item, Kind, Missing
from .find import find_calls
from .naming import is_name_of_something

__all__ = ["Call", "Item", "Kind", "Missing", "find_calls", "is_name_of_something"]
