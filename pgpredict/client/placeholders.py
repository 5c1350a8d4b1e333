"""Placeholders of Python's drivers as PostgreSQL's parameters, and back.

``%s`` and ``%(name)s`` (formats ``format`` and ``pyformat`` of PEP 249) may stand anywhere, also in what SQL
takes for a string; ``%%`` is a per cent sign. psycopg also knows ``%b`` and ``%t``.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rewriter.scan import scan

_PLACEHOLDER = re.compile(r"%(?:\((?P<name>[^)]*)\)(?P<format>.)|(?P<only>.))", re.DOTALL)
_FORMATS = frozenset("sbt")
_NUMBER = re.compile(r"\$([0-9]+)")


@dataclass(frozen=True)
class Template:
    """A statement as a driver's user wrote it.

    :ivar sql: it with parameters ``$1`` ...
    :ivar base: the highest number that the statement has of its own
    :ivar places: what stands for parameter ``base + 1`` and so on, in the user's text
    :ivar steps: (start in :attr:`sql`, start in the user's text), where the distance of the two changes
    :ivar doubled: whether a per cent sign is written twice
    """

    sql: str
    base: int = 0
    places: tuple[str, ...] = ()
    steps: tuple[tuple[int, int], ...] = ((0, 0),)
    doubled: bool = False

    @classmethod
    def plain(cls, text: str) -> Template:
        """Return one without placeholders, or with PostgreSQL's own."""
        return cls(text)

    @classmethod
    def read(cls, text: str) -> Template | None:
        """Read a text with placeholders; None if one is malformed, which is for the driver to say."""
        base = max((int(number) for number in _NUMBER.findall(text)), default=0)
        pieces: list[str] = []
        steps = [(0, 0)]
        places: list[str] = []
        numbers: dict[str, int] = {}
        at = length = 0
        for match in _PLACEHOLDER.finditer(text):
            before = text[at : match.start()]
            if match["only"] == "%":
                put = "%"
            elif (match["only"] or match["format"]) not in _FORMATS:
                return None
            else:
                name = match[0] if match["name"] is not None else None
                number = None if name is None else numbers.get(name)
                if number is None:
                    places.append(match[0])
                    number = len(places)
                    if name is not None:
                        numbers[name] = number
                put = f"${base + number}"
            pieces += [before, put]
            length += len(before) + len(put)
            at = match.end()
            steps.append((length, at))
        return cls("".join([*pieces, text[at:]]), base, tuple(places), tuple(steps), doubled=True)

    def arranged(self, values: Any) -> list[Any]:
        """Return the user's values by the numbers of the parameters, None where one is not known."""
        if not values:
            return []
        names = [place[2:].partition(")")[0] if place.startswith("%(") else None for place in self.places]
        try:
            found = [values[at if name is None else name] for at, name in enumerate(names)]
        except (KeyError, IndexError, TypeError):
            return []  # which is for the driver to say
        return [None] * self.base + found

    def render(self, sql: str) -> tuple[str, tuple[int, ...] | None]:
        """Return another statement with the same parameters as the driver is to be given it.

        :return: the text, and for each of its placeholders the place of its value among the user's; None if
            they are named, or stand in the same order
        """
        if not self.doubled:
            return sql, None
        pieces: list[str] = []
        order: list[int] = []
        for start, end, number in self.parameters(sql):
            pieces.append(sql[start:end].replace("%", "%%") if number is None else self.places[number])
            if number is not None:
                order.append(number)
        positional = all(not place.startswith("%(") for place in self.places)
        moved = order != list(range(len(self.places)))
        return "".join(pieces), tuple(order) if positional and moved else None

    def parameters(self, sql: str) -> list[tuple[int, int, int | None]]:
        """Return (start, end, place of the parameter, None for text) of the parts of a statement."""
        parts: list[tuple[int, int, int | None]] = []
        at = 0
        for token in scan(sql) if self.places else ():
            if token.kind != "param" or not 0 < int(token.text[1:]) - self.base <= len(self.places):
                continue
            parts += [(at, token.start, None), (token.start, token.end, int(token.text[1:]) - self.base - 1)]
            at = token.end
        return [*parts, (at, len(sql), None)]

    def written(self, position: int) -> int:
        """Return the place in the user's text of a place in :attr:`sql`, both from 0."""
        start, written = self.steps[bisect.bisect_right(self.steps, (position, len(self.sql) * 9)) - 1]
        return written + position - start

    def placed(self, sql: str, sent: str) -> Callable[[int], int | None]:
        """Return a function from places in what the driver has sent to places in a statement, from 0.

        :param sql: what was rendered
        :param sent: it with the driver's own parameters, or with values in their places
        """
        texts = [(start, end) for start, end, number in self.parameters(sql) if number is None]
        found: list[tuple[int, int]] = []
        at = 0
        for start, end in texts:
            at = sent.find(sql[start:end], at)
            if at < 0:
                return lambda position: None
            found.append((at, start))
            at += end - start

        def place(position: int) -> int | None:
            index = bisect.bisect_right(found, (position, len(sql))) - 1
            if index < 0:
                return None
            begun, start = found[index]
            return min(start + position - begun, texts[index][1])

        return place
