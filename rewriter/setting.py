"""What is wanted of the planning: arguments of ``rewrite``, or settings of the session."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Literal, get_args

from .errors import InvalidSetting
from .plan import Way

#: the session's settings, as ``SET pgpredict.way = 'row'`` makes them
WAY = "pgpredict.way"
RULES_OFF = "pgpredict.rules_off"
_WAYS: tuple[Way | Literal["auto"], ...] = ("auto", *get_args(Way))


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the caller wants; what is None is as the session has it.

    :ivar way: the way that is taken wherever it can be; ``auto`` leaves the choice to us
    :ivar without: names of the rules that are switched off
    :ivar kept: whether the server keeps the statement for later, as under a name of the extended protocol:
        what is deployed meanwhile must be seen
    """

    way: Way | Literal["auto"] | None = None
    without: frozenset[str] | None = None
    kept: bool = False

    @property
    def forced(self) -> Way | None:
        """The way that is to be taken wherever it can be."""
        return None if self.way == "auto" else self.way


def resolve(setting: Setting, session: Mapping[str, str], rules: Collection[str]) -> Setting:
    """Fill in what the session has set.

    :param session: its settings by name; one that is empty is not set
    :param rules: names of all rules
    :raises InvalidSetting: for a way or a rule that there is not
    """
    way = setting.way or _way(session.get(WAY, ""))
    if setting.without is not None:
        unknown(setting.without, rules, "the argument")
        return Setting(way, frozenset(rules) if "all" in setting.without else setting.without, setting.kept)
    listed = session.get(RULES_OFF, "").replace(",", " ").split()
    unknown(listed, rules, RULES_OFF)
    return Setting(way, frozenset(rules if "all" in listed else listed), setting.kept)


def _way(value: str) -> Way | Literal["auto"] | None:
    lowered = value.strip().lower()
    if not lowered:
        return None
    for way in _WAYS:
        if lowered == way:
            return way
    raise InvalidSetting(f"{WAY} is {value!r}", hint=f"one of {', '.join(_WAYS)}")


def unknown(names: Collection[str], rules: Collection[str], where: str) -> None:
    """Refuse names of rules that there are not.

    :raises InvalidSetting: naming the first of them
    """
    for name in names:
        if name not in rules and name != "all":
            raise InvalidSetting(
                f"{where} names a rule {name!r} that there is not",
                hint=f"the rules: {', '.join(rules)}; or all",
            )
