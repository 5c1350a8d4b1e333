"""What is asked of the database; everything is qualified, since the search_path is the user's.

Columns of a query have names of their own: an answer may travel as JSON.
"""

from __future__ import annotations

# without the extension, or without the right to see it, there are no models
INSTALLED = """
SELECT pg_catalog.to_regclass('ml.models') IS NOT NULL AND pg_catalog.has_schema_privilege('ml', 'USAGE')
"""
# The session's settings are brought along: they are wanted wherever a model is.
# The target's type is that of the model table, which the extension has looked up and found harmless. The
# signature's is a text of the model's owner: another search_path may give it another meaning, or none.
DEPLOYED = """
SELECT m.version AS deployed, m.version, m.signature, (
    SELECT pg_catalog.format_type(a.atttypid, NULL) FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid OPERATOR(pg_catalog.=)
            pg_catalog.to_regclass(pg_catalog.format('models.%I', m.name))::pg_catalog.oid
        AND a.attname OPERATOR(pg_catalog.=) 'prediction'
) AS prediction_type, m.inline, m.unused, NULL AS known,
    pg_catalog.current_setting('pgpredict.way', true) AS way,
    pg_catalog.current_setting('pgpredict.rules_off', true) AS rules_off
FROM ml.models AS m WHERE m.name OPERATOR(pg_catalog.=) $1
"""
# What the answer above depends on, without its weight: a version is never changed, and a model that was
# dropped and made again has another time.
DEPLOYED_STATE = """
SELECT m.version, m.artifact, m.trained_at, m.created_at, (
    SELECT pg_catalog.format_type(a.atttypid, NULL) FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid OPERATOR(pg_catalog.=)
            pg_catalog.to_regclass(pg_catalog.format('models.%I', m.name))::pg_catalog.oid
        AND a.attname OPERATOR(pg_catalog.=) 'prediction'
) AS prediction_type,
    pg_catalog.current_setting('pgpredict.way', true) AS way,
    pg_catalog.current_setting('pgpredict.rules_off', true) AS rules_off
FROM ml.models AS m WHERE m.name OPERATOR(pg_catalog.=) $1
"""
# another version's predictions may have another type than the model table's
PINNED = """
SELECT m.version AS deployed, v.version, v.signature, v.prediction_type, v.inline, v.unused,
    CASE WHEN v.version IS NULL THEN ARRAY(
        SELECT o.version FROM ml.versions AS o WHERE o.model OPERATOR(pg_catalog.=) m.name ORDER BY o.version
    ) END AS known,
    pg_catalog.current_setting('pgpredict.way', true) AS way,
    pg_catalog.current_setting('pgpredict.rules_off', true) AS rules_off
FROM ml.models AS m LEFT JOIN ml.versions AS v
    ON v.model OPERATOR(pg_catalog.=) m.name AND v.version OPERATOR(pg_catalog.=) $2::pg_catalog.int8
WHERE m.name OPERATOR(pg_catalog.=) $1
"""
TEXTS_ARE_BYTES = (
    "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_collation AS c WHERE NOT c.collisdeterministic)"
)
MODEL_NAMES = "SELECT m.name FROM ml.models AS m ORDER BY m.name"
FUNCTION = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc
WHERE proname OPERATOR(pg_catalog.=) $1 AND pg_catalog.pg_function_is_visible(oid)
"""
# What a view calls of PostgreSQL's own is in no catalog but the view's text.
STEADY = r"""
WITH RECURSIVE seen AS (
    SELECT pg_catalog.to_regclass(n.name)::pg_catalog.oid AS id
    FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name)
    UNION
    SELECT d.refobjid FROM seen AS s
    JOIN pg_catalog.pg_rewrite AS r ON r.ev_class OPERATOR(pg_catalog.=) s.id
    JOIN pg_catalog.pg_depend AS d ON d.objid OPERATOR(pg_catalog.=) r.oid
        AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
), views AS (
    SELECT r.oid AS rule, c.oid AS id FROM seen AS s
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) s.id
    JOIN pg_catalog.pg_rewrite AS r ON r.ev_class OPERATOR(pg_catalog.=) c.oid
    WHERE c.relkind OPERATOR(pg_catalog.=) 'v'
), called AS (
    SELECT u.name FROM pg_catalog.unnest($2::pg_catalog.text[]) AS u (name)
    UNION
    SELECT m.words[1] FROM views AS v,
        pg_catalog.regexp_matches(pg_catalog.pg_get_viewdef(v.id), '(\w+)"?\(', 'g') AS m (words)
)
SELECT NOT EXISTS (
    SELECT FROM pg_catalog.pg_proc AS p
    WHERE p.provolatile OPERATOR(pg_catalog.=) 'v'
        AND p.proname OPERATOR(pg_catalog.=) ANY (SELECT c.name FROM called AS c)
) AND NOT EXISTS (
    SELECT FROM views AS v JOIN pg_catalog.pg_depend AS d ON d.objid OPERATOR(pg_catalog.=) v.rule
        AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
    JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) d.refobjid
    WHERE p.provolatile OPERATOR(pg_catalog.=) 'v'
)
"""
VOLATILE = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_proc AS f
    WHERE f.proname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.name[])
        AND f.provolatile OPERATOR(pg_catalog.=) 'v')
"""
ESTIMATE = "SELECT ml.estimate($1::pg_catalog.text, $2::pg_catalog.int4[])"
# a domain over an array counts as one; int2vector and its like are arrays that array_agg cannot join
TYPES = """
WITH RECURSIVE base AS (
    SELECT w.type, t.oid, t.typtype, t.typbasetype, t.typelem, t.typlen
    FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS w(type)
    JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) w.type
    UNION ALL
    SELECT b.type, t.oid, t.typtype, t.typbasetype, t.typelem, t.typlen
    FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) b.typbasetype
    WHERE b.typtype OPERATOR(pg_catalog.=) 'd'
)
SELECT type, typelem OPERATOR(pg_catalog.<>) 0 AND typlen OPERATOR(pg_catalog.=) -1 AS is_array,
    typtype OPERATOR(pg_catalog.=) 'p' AS is_pseudo, typtype OPERATOR(pg_catalog.=) 'c' AS is_composite
FROM base WHERE typtype OPERATOR(pg_catalog.<>) 'd'
"""
# rows of inherited tables are none of the key's business; partitions are
PRIMARY_KEY = """
SELECT a.attname FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_index AS i ON i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisprimary
CROSS JOIN pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k(number, place)
JOIN pg_catalog.pg_attribute AS a
    ON a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.=) k.number
WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid
    AND (c.relkind OPERATOR(pg_catalog.=) 'p'
        OR c.relkind OPERATOR(pg_catalog.=) 'r' AND NOT c.relhassubclass)
ORDER BY k.place
"""
TYPE_NAMES = """
SELECT pg_catalog.format_type(t.oid, t.modifier)
FROM ROWS FROM (
    pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.int4[])
)
    WITH ORDINALITY AS t(oid, modifier, position)
ORDER BY t.position
"""
