-- what the columns of a query are; a domain arrives as its base type
SELECT t.oid::int8, pg_catalog.format_type(t.oid, NULL), t.typtype = 'e'
FROM pg_catalog.pg_type AS t
WHERE t.oid = ANY (%s)
