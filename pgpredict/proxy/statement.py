"""A statement that waits for a decision."""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import frames

#: behind blanks and comments; nothing of the user's may come into the log
_FIRST_WORD = re.compile(
    rb"(?>\s+|--[^\n]*\n|/\*.*?\*/|\()*+"
    rb"(select|insert|update|delete|merge|with|values|table|create|copy|explain|prepare|declare|begin|set)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Statement:
    """A Query or Parse that may hold our syntax.

    :ivar kind: of the message
    :ivar name: of a Parse's statement, empty for the unnamed one
    :ivar sql: the text, in the client's encoding
    :ivar types: what follows the text in a Parse
    :ivar message: as it came
    """

    kind: int
    name: bytes
    sql: bytes
    types: bytes
    message: bytes

    @property
    def kept(self) -> bool:
        """Whether the server keeps it under a name, to be executed whenever the client likes."""
        return bool(self.name)

    @property
    def declared(self) -> tuple[int, ...]:
        """Oids of the types of its parameters by their numbers, as far as the client says any; else 0."""
        if not any(self.types[2:]) or b"$" not in self.sql:
            return ()
        return tuple(oid for (oid,) in frames.LENGTH.iter_unpack(self.types[2:]))

    @property
    def word(self) -> str:
        """The text's first word in lower case, if it is one that begins statements; for the log."""
        found = _FIRST_WORD.match(self.sql)
        return found[1].decode().lower() if found else "other"

    def with_text(self, sql: bytes) -> bytes:
        """Return the message with another text."""
        return frames.replaced(self.kind, self.name, sql, self.types)
