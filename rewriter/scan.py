"""Words of a statement, with offsets, by PostgreSQL's own lexical rules.

sqlglot's tokenizer is not used for this: it joins words into keywords (``GROUP BY``), swallows the rest of
a statement behind ``EXPLAIN`` or ``COPY``, and takes some 0.7 ms for 1 kB. What is found here must be exact
to the character, because the statement is cut at these offsets; tests compare it with PostgreSQL's scanner.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

Kind = Literal["word", "quoted", "string", "number", "param", "operator", "punct"]

_IDENT = r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*"
# an operator ends where a comment begins; what PostgreSQL does with a trailing + or - does not matter here
_OPERATOR = r"(?:(?!--|/\*)[-+*/<>=~!@#%^&|`?])+"
# a string goes on where only a line's end (and blanks and -- comments) lies between two quotes
_GOES_ON = r"'(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:\s|--[^\n\r]*[\n\r])*'"
_STRING = "|".join(
    f"{prefix}'{body}(?:{_GOES_ON}{body})*'?"
    # bit strings know no doubled quotes
    for prefix, body in (("[eE]", r"(?:[^'\\]|''|\\.)*"), ("[bBxX]", "[^']*"), ("(?:[uU]&)?", "(?:[^']|'')*"))
)
# White space and -- comments come along with the token behind them; most tokens are words, so they are tried
# first, but for the letter that begins a string or a quoted name.
_TOKEN = re.compile(
    r"""
    (?:\s+|--[^\n\r]*)*(?:
    (?P<word>(?![eEbBxX]'|[uU]&['"])"""
    + _IDENT
    + r""")
  | (?P<punct>::|\.\.|:=|[()\[\],;:]|\.(?![0-9]))
  | (?P<comment>/\*)
  | (?P<string>"""
    + _STRING
    + r""")
  | (?P<dollar>\$(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)?\$)
  | (?P<param>\$[0-9]+)
  | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*"?)
  | (?P<number>(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+
      |(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?))
  | (?P<operator>"""
    + _OPERATOR
    + r""")
  | (?P<end>\Z)
  | (?P<other>.)
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_UESCAPE = re.compile(r"(?:\s|--[^\n\r]*[\n\r])+[uU][eE][sS][cC][aA][pP][eE]\s*'([^0-9A-Fa-f+'\"\s])'")
_COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclasses.dataclass(slots=True, unsafe_hash=True)
class Token:
    """One word of the statement; never changed, but a frozen one would take five times as long to make.

    :ivar kind: ``word`` is an unquoted name or keyword, ``quoted`` a name in double quotes
    :ivar text: a word folded to lower case, the name inside the quotes, else the text as written
    :ivar start: offset of the first character
    :ivar end: offset behind the last character
    :ivar depth: how many parentheses and brackets are open around it; an opening one and its closing one
        count as outside
    """

    kind: Kind
    text: str
    start: int
    end: int
    depth: int

    @property
    def is_name(self) -> bool:
        """Whether this can name something: a quoted name, or a word."""
        return self.kind in ("word", "quoted")


def mentions(sql: str) -> bool:
    """Tell whether the text holds one of our words at all; costs a microsecond for 1 kB."""
    lowered = sql.lower()
    if "predict" in lowered or "probability" in lowered:
        return True
    # a model table that is joined without saying how
    return "models" in lowered and "join" in lowered


def mentions_bytes(sql: bytes) -> bool:
    """Tell the same of a text in any encoding that has ASCII's letters as ASCII has them."""
    lowered = sql.lower()
    if b"predict" in lowered or b"probability" in lowered:
        return True
    return b"models" in lowered and b"join" in lowered


def scan(sql: str) -> list[Token]:
    """Return the statement's words; comments and white space are left out.

    An unterminated string or comment reaches to the end of the text: PostgreSQL is left to complain.
    """
    tokens: list[Token] = []
    append, token_at = tokens.append, _TOKEN.match
    position = depth = 0
    while True:
        match = token_at(sql, position)
        if match is None:  # the last alternative matches any character
            raise AssertionError(position)
        kind, (start, position) = match.lastgroup, match.span(match.lastindex or 0)
        if kind == "word":
            append(Token("word", _fold(sql[start:position]), start, position, depth))
        elif kind == "punct":
            text = sql[start:position]
            if text in ")]":
                depth = max(depth - 1, 0)
            append(Token("punct", text, start, position, depth))
            if text in "([":
                depth += 1
        elif kind == "end":
            break
        elif kind == "quoted":
            name, position = _unquote(sql, match)
            append(Token("quoted", name, start, position, depth))
        elif kind == "comment":
            position = _comment_end(sql, start)
        elif kind == "dollar":
            close = sql.find(sql[start:position], position)
            position = len(sql) if close < 0 else close + (position - start)
            append(Token("string", sql[start:position], start, position, depth))
        elif kind in ("string", "number", "param", "operator"):
            append(Token(kind, sql[start:position], start, position, depth))  # type: ignore[arg-type]
        else:
            append(Token("operator", sql[start:position], start, position, depth))
    return tokens


def _fold(word: str) -> str:
    # PostgreSQL folds ASCII letters only in a multi-byte encoding
    return word.lower() if word.isascii() else "".join(c.lower() if c.isascii() else c for c in word)


def _unquote(sql: str, match: re.Match[str]) -> tuple[str, int]:
    """Return a quoted name, and the end of what belongs to it: U&"..." may be followed by UESCAPE."""
    text = match.group("quoted")
    if text[0] == '"':
        return text[1:-1].replace('""', '"'), match.end()
    name, end, escape = text[3:-1].replace('""', '"'), match.end(), "\\"
    chosen = _UESCAPE.match(sql, end)
    if chosen is not None:
        escape, end = chosen[1], chosen.end()
    return _unescape(name, escape), end


def _unescape(name: str, escape: str) -> str:
    mark = re.escape(escape)
    codes = rf"{mark}(?:({mark})|([0-9A-Fa-f]{{4}})|\+([0-9A-Fa-f]{{6}}))"

    def character(match: re.Match[str]) -> str:
        code = match[2] or match[3]
        number = int(code, 16) if code else 0
        # what is no character is PostgreSQL's to refuse
        return escape if match[1] else chr(number) if number <= 0x10FFFF else match[0]

    resolved = re.sub(codes, character, name)
    # a character beyond the 16 bits of \\xxxx may be written as a pair of surrogates
    return resolved.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _comment_end(sql: str, start: int) -> int:
    depth, position = 0, start
    while True:
        edge = _COMMENT_EDGE.search(sql, position)
        if edge is None:
            return len(sql)
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
        if depth == 0:
            return position
