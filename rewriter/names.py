"""How names and texts are written in the SQL that we emit."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SIMPLE = re.compile(r"[a-z_][a-z0-9_]*")
_RESERVED_WORDS = """
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit
    boolean both case cast char character check coalesce collate collation column concurrently
    constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user dec decimal default deferrable desc distinct do else end except
    exists extract false fetch float for foreign freeze from full grant greatest group grouping
    having ilike in initially inner inout int integer intersect interval into is isnull join json
    json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar
    json_serialize json_table json_value lateral leading least left like limit localtime
    localtimestamp merge_action national natural nchar none normalize not notnull null nullif
    numeric offset on only or order out outer overlaps overlay placing position precision primary
    real references returning right row select session_user setof similar smallint some substring
    symmetric system_user table tablesample then time timestamp to trailing treat trim true union
    unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat
    xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
"""
#: all words that PostgreSQL 13 to 18 reserves in some way; such a name is quoted
RESERVED = frozenset(_RESERVED_WORDS.split())
_COLUMN_WORDS = """
    between bigint bit boolean char character coalesce dec decimal exists extract float greatest
    grouping inout int integer interval json json_array json_arrayagg json_exists json_object
    json_objectagg json_query json_scalar json_serialize json_table json_value least merge_action
    national nchar none normalize nullif numeric out overlay position precision real row setof
    smallint substring time timestamp treat trim values varchar xmlattributes xmlconcat xmlelement
    xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
"""
#: words that cannot name a table without quotes
NOT_NAMES = RESERVED - frozenset(_COLUMN_WORDS.split())


def quote(name: str) -> str:
    """Return a name as an SQL identifier, in double quotes where it needs them."""
    if _SIMPLE.fullmatch(name) and name not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL string literal that means the same under any setting."""
    doubled = text.replace("'", "''")
    return " E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in text else "'" + doubled + "'"


def prefix_free_of(words: Iterable[str]) -> str:
    """Return a prefix for our own names that no name of the statement begins with."""
    taken = set(words)
    number = 0
    while any(word.startswith(f"_p{number or ''}_") for word in taken):
        number += 1
    return f"_p{number or ''}_"
