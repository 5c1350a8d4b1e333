"""Files of variables, read as systemd reads what ``EnvironmentFile=`` names.

That is systemd.exec(5), and for what it leaves open systemd's own reader (src/basic/env-file.c), which is no
shell: a comment begins a line, an unquoted value goes to the end of its line and keeps the spaces in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pgpredict.errors import InvalidInput

_SPACE, _NEWLINE, _COMMENT = " \t\n\r", "\n\r", "#;"
#: in double quotes a backslash stays before any other character
_ESCAPED = '"\\`$'


def parse_environment(text: str) -> dict[str, str]:
    """Return the variables that systemd would set; what it ignores is left out.

    :raises InvalidInput: if versions of systemd do not agree about the text
    """
    reader = _Reader()
    for number, character in enumerate(text):
        try:
            reader.state(character)
        except InvalidInput as error:
            line = text.count("\n", 0, number) + 1
            raise InvalidInput(f"line {line} {error.message}", hint=error.hint) from None
    reader.end()
    # systemd drops whatever else stands before an equals sign
    return {key: value for key, value in reader.found.items() if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key)}


class _Reader:
    """Takes characters one by one; its state is the method that takes the next one."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.state: Callable[[str], None] = self._before_key
        self._key = self._value = ""
        #: length of the value without unquoted spaces at its end
        self._length = 0

    def end(self) -> None:
        """Take what the end of the text ends."""
        if self.state not in (self._before_key, self._in_key, self._comment, self._comment_escape):
            self._store()

    def _store(self) -> None:
        value = self._value[: self._length] if self.state == self._in_value else self._value
        self.found[self._key.rstrip(_SPACE)] = value
        self._key = self._value = ""
        self._length = 0
        self.state = self._before_key

    def _add(self, text: str) -> None:
        self._value += text
        self._length = len(self._value)

    def _before_key(self, character: str) -> None:
        if character in _COMMENT:
            self.state = self._comment
        elif character not in _SPACE:
            self._key = character
            self.state = self._in_key

    def _in_key(self, character: str) -> None:
        if character in _NEWLINE:
            self.state = self._before_key
        elif character == "=":
            self.state = self._before_value
        else:
            self._key += character

    def _before_value(self, character: str) -> None:
        if character in _NEWLINE:
            self._store()
        elif character == "'":
            self.state = self._single_quoted
        elif character == '"':
            self.state = self._double_quoted
        elif character == "\\":
            self.state = self._escape
        elif character not in _SPACE:
            self._add(character)
            self.state = self._in_value

    def _in_value(self, character: str) -> None:
        if character in _NEWLINE:
            self._store()
        elif character == "\\":
            self._length = len(self._value)
            self.state = self._escape
        elif character in _SPACE:
            self._value += character
        else:
            self._add(character)

    def _escape(self, character: str) -> None:
        if character not in _NEWLINE:
            self._add(character)
        self.state = self._in_value

    def _single_quoted(self, character: str) -> None:
        if character == "'":
            self.state = self._before_value
        else:
            self._add(character)

    def _double_quoted(self, character: str) -> None:
        if character == '"':
            self.state = self._before_value
        elif character == "\\":
            self.state = self._double_quoted_escape
        else:
            self._add(character)

    def _double_quoted_escape(self, character: str) -> None:
        if character in _ESCAPED:
            self._add(character)
        elif character != "\n":
            self._add(f"\\{character}")
        self.state = self._double_quoted

    def _comment(self, character: str) -> None:
        if character == "\\":
            self.state = self._comment_escape
        elif character in _NEWLINE:
            self.state = self._before_key

    def _comment_escape(self, character: str) -> None:
        if character in _NEWLINE:
            raise InvalidInput(
                "is a comment that ends in a backslash",
                hint="versions of systemd do not agree whether the next line belongs to it",
            )
        self.state = self._comment
