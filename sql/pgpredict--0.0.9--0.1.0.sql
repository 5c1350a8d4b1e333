-- pgpredict 0.0.9 to 0.1.0: what is marked "since 0.1.0" in the whole script (see README.md).
\echo Use "ALTER EXTENSION pgpredict UPDATE TO '0.1.0'" to load this file. \quit

-- A row as the JSON text that the column "features" of a model table takes. to_json under another
-- name: a json is a text in memory, and a cast to text instead would be misread by Multicorn.
CREATE FUNCTION ml.features(anyelement) RETURNS text
LANGUAGE internal STABLE STRICT PARALLEL SAFE AS 'to_json';
COMMENT ON FUNCTION ml.features(anyelement) IS 'row as JSON text, for the column "features" of model tables';

CREATE FUNCTION ml.labels(prediction bytea, classes text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT classes[item::integer] FROM unnest(ml.float8s(prediction)) AS item)
$$;
COMMENT ON FUNCTION ml.labels(bytea, text[]) IS 'predicted class of each row of a batch';
