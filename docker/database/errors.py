"""Why the container does not start."""

from __future__ import annotations


class Refused(Exception):
    """Something that whoever runs the container has to change.

    :param message: a lower-case clause
    :param hint: what to do
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
