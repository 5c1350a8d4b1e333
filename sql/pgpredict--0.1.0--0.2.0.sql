-- pgpredict 0.1.0 to 0.2.0: versions of models by number, models as SQL, what the rewriter asks for.
\echo Use "ALTER EXTENSION pgpredict UPDATE TO '0.2.0'" to load this file. \quit

ALTER TABLE ml.model_version ADD COLUMN inline jsonb, ADD COLUMN unused text[] NOT NULL DEFAULT '{}';

-- An int4 as the machine stores it. This and what else each batch calls is PL/pgSQL, which keeps its plans for the
-- session: PostgreSQL would parse and plan a function in SQL anew in every statement, 0.05 ms each.
CREATE OR REPLACE FUNCTION ml_internal.native(value integer) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE WHEN get_byte(ml.raw(ARRAY[0]::float8[]), 0) = 0 THEN int4send(value)
        ELSE set_byte(set_byte(set_byte(set_byte('\x00000000'::bytea,
            0, value & 255), 1, value >> 8 & 255), 2, value >> 16 & 255), 3, value >> 24 & 255)
    END;
END
$$;

-- Header of a one-dimensional float8[] without NULLs: ndim, dataoffset, element type; dimension; lower bound.
CREATE OR REPLACE FUNCTION ml_internal.header(elements integer) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN substring(ml.raw(ARRAY[0]::float8[]) FROM 1 FOR 12)
        || ml_internal.native(elements) || ml_internal.native(1);
END
$$;

CREATE OR REPLACE FUNCTION ml.labels(prediction bytea, classes text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT classes[item::integer] FROM unnest(ml.float8s(prediction)) AS item);
END
$$;

-- A class as JSON of the target's type, as to_jsonb(prediction) gives it. No SET, so that it is inlined.
CREATE FUNCTION ml.class_json(class text, target text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN target OPERATOR(pg_catalog.=) ANY ('{smallint,integer,bigint,numeric}'::pg_catalog.text[])
            THEN pg_catalog.to_jsonb(class::pg_catalog.numeric)
        WHEN target OPERATOR(pg_catalog.=) ANY ('{real,double precision}'::pg_catalog.text[])
            THEN pg_catalog.to_jsonb(class::pg_catalog.float8)
        WHEN target OPERATOR(pg_catalog.=) 'boolean' THEN pg_catalog.to_jsonb(class::pg_catalog.bool)
        WHEN target OPERATOR(pg_catalog.=) 'date' THEN pg_catalog.to_jsonb(class::pg_catalog.date)
        WHEN target OPERATOR(pg_catalog.=) 'timestamp without time zone'
            THEN pg_catalog.to_jsonb(class::pg_catalog.timestamp)
        WHEN target OPERATOR(pg_catalog.=) 'timestamp with time zone'
            THEN pg_catalog.to_jsonb(class::pg_catalog.timestamptz)
        ELSE pg_catalog.to_jsonb(class)
    END
$$;
COMMENT ON FUNCTION ml.class_json(text, text) IS 'class as JSON of the type of what is predicted';

CREATE FUNCTION ml.likeliest_each(
    probabilities bytea, classes text[], top integer, cutoff float8, target text DEFAULT 'text') RETURNS jsonb[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width integer := cardinality(classes);
    numbers float8[];
    height integer;
    labels jsonb[];
BEGIN
    IF probabilities IS NULL THEN
        RETURN NULL;
    END IF;
    IF coalesce(width, 0) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a regression has no likeliest classes';
    END IF;
    numbers := ml.float8s(probabilities);
    height := cardinality(numbers) / width;
    IF height * width <> cardinality(numbers) THEN
        RAISE EXCEPTION USING
            ERRCODE = '22P03',
            MESSAGE = format('%s numbers are not the probabilities of %s classes', cardinality(numbers), width);
    END IF;
    labels := ARRAY(SELECT ml.class_json(c.class, target) FROM unnest(classes) WITH ORDINALITY AS c (class, place)
        ORDER BY c.place);
    RETURN ARRAY(
        SELECT (
            SELECT coalesce(jsonb_agg(jsonb_build_object('prediction', labels[best.place], 'probability', best.value)
                ORDER BY best.value DESC, best.place), '[]')
            FROM (
                SELECT c.place, numbers[(c.place - 1) * height + r.place] AS value
                FROM generate_series(1, width) AS c (place) ORDER BY 2 DESC, 1 LIMIT top
            ) AS best
            WHERE cutoff IS NULL OR best.value >= cutoff
        )
        FROM generate_series(1, height) AS r (place) ORDER BY r.place
    );
END
$$;
COMMENT ON FUNCTION ml.likeliest_each(bytea, text[], integer, float8, text) IS
    'likeliest classes of each row of a batch, as JSON';

-- Not by way of the other: this one is called for every row, and costs a fifth.
CREATE FUNCTION ml.likeliest(
    probabilities float8[], classes text[], top integer, cutoff float8, target text DEFAULT 'text') RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF probabilities IS NULL THEN
        RETURN NULL;
    END IF;
    IF coalesce(cardinality(classes), 0) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a regression has no likeliest classes';
    END IF;
    IF cardinality(probabilities) <> cardinality(classes) THEN
        RAISE EXCEPTION USING
            ERRCODE = '22P03',
            MESSAGE = format('%s numbers are not the probabilities of %s classes',
                cardinality(probabilities), cardinality(classes));
    END IF;
    RETURN (
        SELECT coalesce(jsonb_agg(jsonb_build_object('prediction', ml.class_json(best.class, target),
            'probability', best.value) ORDER BY best.value DESC, best.place), '[]')
        FROM (
            SELECT * FROM ROWS FROM (unnest(classes), unnest(probabilities)) WITH ORDINALITY AS c (class, value, place)
            ORDER BY c.value DESC, c.place LIMIT top
        ) AS best
        WHERE cutoff IS NULL OR best.value >= cutoff
    );
END
$$;
COMMENT ON FUNCTION ml.likeliest(float8[], text[], integer, float8, text) IS
    'likeliest classes of one row, by falling probability, as JSON';

-- Called for every row where a feature may be missing: no SET, which would cost more than the rest.
CREATE FUNCTION ml.missing(model text, features text[], missing boolean[]) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    names text;
    number bigint;
BEGIN
    IF (true OPERATOR(pg_catalog.=) ANY (missing)) IS NOT TRUE THEN
        RETURN false;
    END IF;
    SELECT pg_catalog.string_agg(pg_catalog.quote_literal(f.name), ', ' ORDER BY f.place), pg_catalog.count(*)
    INTO names, number
    FROM ROWS FROM (pg_catalog.unnest(features), pg_catalog.unnest(missing)) WITH ORDINALITY AS f (name, is_missing, place)
    WHERE f.is_missing;
    RAISE EXCEPTION USING
        ERRCODE = '22004',
        MESSAGE = CASE WHEN number OPERATOR(pg_catalog.=) 1 THEN pg_catalog.format('feature %s of model %L is NULL', names, model)
            ELSE pg_catalog.format('features %s of model %L are NULL', names, model) END,
        HINT = 'ON MISSING NULL predicts NULL for such rows; ON MISSING IMPUTE leaves them to the model, if it can impute.';
END
$$;
COMMENT ON FUNCTION ml.missing(text, text[], boolean[]) IS 'error that names the features that are NULL, false if none is';

-- The type of a version's predictions in SQL. The caller may see it, and has no rights on schema ml_internal.
CREATE FUNCTION ml_internal.prediction_type(signature jsonb) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(ml_internal.target_type(signature ->> 'task', signature #>> '{target,type}'),
        CASE signature ->> 'task' WHEN 'regression' THEN 'double precision' ELSE 'text' END)
$$;

-- The prediction in the target's own type. Always an expression where that is not text or float8: the
-- foreign column has a type that is safe under EXPLAIN.
CREATE OR REPLACE FUNCTION ml_internal.prediction_column(signature jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    carrier text := CASE signature ->> 'task' WHEN 'regression' THEN 'double precision' ELSE 'text' END;
    wanted text := ml_internal.prediction_type(signature);
BEGIN
    RETURN CASE wanted
        WHEN carrier THEN 'r.prediction'
        -- a comparison, because Multicorn warns of "WHERE prediction" when that is a cast
        WHEN 'boolean' THEN '(r.prediction = ''true'')'
        ELSE format('r.prediction::%s', wanted)
    END || ' AS prediction';
END
$$;

-- The views of a model beside its table. A name that would be cut short is none: models of 0.1.0 may have 56 bytes.
CREATE FUNCTION ml_internal.side_views(model_name text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(model_name || suffix) FROM unnest('{__batch,__version}'::text[]) AS suffix
    WHERE octet_length(model_name || suffix) <= 63
$$;

-- Those of them that are there and ours: 0.1.0 allowed models that are named like the views of others.
CREATE FUNCTION ml_internal.own_views(model_name text) RETURNS text[]
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(b.relname::text ORDER BY b.relname), '{}')
    FROM pg_class AS m JOIN pg_class AS b ON b.relnamespace = m.relnamespace AND b.relowner = m.relowner
    WHERE m.relnamespace = 'models'::regnamespace AND m.relname = model_name
        AND b.relname = ANY (ml_internal.side_views(model_name))
        AND NOT EXISTS (SELECT FROM ml.model AS other WHERE other.name = b.relname)
$$;

-- The batch form of every version. The number stays PostgreSQL's; the foreign table sees artifacts, as ever.
CREATE FUNCTION ml_internal.create_version_view(model_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF model_name || '__version' <> ALL (ml_internal.side_views(model_name)) THEN
        RETURN;
    END IF;
    EXECUTE format($view$
        CREATE VIEW models.%I AS
        SELECT v.version, r.batch, r.rows, ml_internal.opaque(r.classes) AS classes,
            ml_internal.opaque(r.prediction) AS prediction, ml_internal.opaque(r.probability) AS probability,
            ml_internal.opaque(r.probabilities) AS probabilities
        FROM ml.model_version AS v JOIN ml_internal."$batch" AS r ON r."$artifact" = v.artifact
        WHERE v.model = %L
    $view$, model_name || '__version', model_name);
    EXECUTE format('COMMENT ON VIEW models.%I IS %L', model_name || '__version',
        format('model %s in any version, a batch of rows at a time', model_name));
END
$$;

-- What may be done with one form of a model may be done with the others: bring the SELECT privileges of the
-- views beside it to those of the model table. Only views that differ are touched, and only ours.
CREATE OR REPLACE FUNCTION ml_internal.copy_grants() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statements text[];
BEGIN
    WITH pair AS (
        SELECT b.relname AS view_name, m.relacl AS wanted, b.relacl AS present, m.relowner AS owner
        FROM ml.model AS o
        CROSS JOIN unnest(ml_internal.own_views(o.name)) AS side (name)
        JOIN pg_class AS m ON m.relnamespace = 'models'::regnamespace AND m.relname = o.name
        JOIN pg_class AS b ON b.relnamespace = m.relnamespace AND b.relname = side.name
        WHERE m.relacl IS DISTINCT FROM b.relacl AND o.shape IS NOT NULL
    ), wanted AS (
        SELECT p.view_name, a.grantee, bool_or(a.is_grantable) AS is_grantable, true AS by_owner
        FROM pair AS p, aclexplode(p.wanted) AS a
        WHERE a.privilege_type = 'SELECT' AND a.grantee <> p.owner GROUP BY 1, 2
    ), present AS (
        SELECT p.view_name, a.grantee, a.is_grantable, a.grantor = p.owner AS by_owner
        FROM pair AS p, aclexplode(p.present) AS a
        WHERE a.privilege_type = 'SELECT' AND a.grantee <> p.owner
    ), different AS (
        SELECT view_name FROM ((TABLE wanted EXCEPT TABLE present) UNION (TABLE present EXCEPT TABLE wanted)) AS d
    ), change AS (
        -- What a grantee granted on goes with the grantee's own right, and in no other way.
        SELECT 1 AS step, format('REVOKE ALL ON models.%I FROM %s CASCADE', view_name, ml_internal.grantee(grantee)) AS statement
        FROM present WHERE by_owner AND view_name IN (TABLE different)
        UNION ALL
        SELECT 2, format('GRANT SELECT ON models.%I TO %s%s', view_name, ml_internal.grantee(grantee),
            CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM wanted WHERE view_name IN (TABLE different)
    )
    SELECT array_agg(statement ORDER BY step) INTO statements FROM change;
    PERFORM ml_internal.execute_all(statements);
END
$$;
REVOKE ALL ON FUNCTION ml_internal.copy_grants() FROM PUBLIC;

CREATE OR REPLACE FUNCTION ml_internal.on_grant() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A restore brings the grants of all forms; with --jobs it would meet ours in the middle.
    IF current_setting('application_name') = 'pg_restore'
        OR current_setting('pgpredict.copying_grants', true) = 'on'
        OR NOT EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_type = 'TABLE')
    THEN
        RETURN;
    END IF;
    -- The GRANTs of copy_grants fire this trigger again.
    PERFORM set_config('pgpredict.copying_grants', 'on', true);
    PERFORM ml_internal.copy_grants();
    PERFORM set_config('pgpredict.copying_grants', '', true);
EXCEPTION WHEN OTHERS THEN
    -- A GRANT on something else must not fail because of us.
    PERFORM set_config('pgpredict.copying_grants', '', true);
    RAISE WARNING USING MESSAGE = 'privileges of batch tables could not be brought up to date: ' || SQLERRM,
        HINT = 'Repeat the GRANT or REVOKE on the model table.';
END
$$;

-- Points a model at a version: the UPDATE of one row, and new views only if the columns change.
CREATE OR REPLACE FUNCTION ml_internal.point(
    old ml.model, wanted ml.model_version, action text, previous bigint, caller name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new_shape text := ml_internal.shape(wanted.signature);
    is_new boolean := old.shape IS NULL;
BEGIN
    IF EXISTS (SELECT FROM ml.artifact WHERE sha256 = wanted.artifact
        AND created_in = pg_current_xact_id() AND created_at = transaction_timestamp())
    THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('version %s of model %L is not committed yet', wanted.version, old.name),
            HINT = 'Commit what ml.register_version did, then deploy: the runtime reads the model from another session.';
    END IF;
    IF old.shape IS DISTINCT FROM new_shape THEN
        PERFORM ml_internal.reshape(old, wanted.signature, new_shape);
    END IF;
    UPDATE ml.model SET deployed_version = wanted.version, deployed_artifact = wanted.artifact, shape = new_shape,
        task = wanted.signature ->> 'task', target = wanted.signature #>> '{target,name}',
        target_type = wanted.signature #>> '{target,type}'
    WHERE name = old.name;
    INSERT INTO ml.deployment (model, version, previous_deployment, action, deployed_by)
    VALUES (old.name, wanted.version, previous, action, caller);
    IF is_new THEN
        PERFORM ml_internal.create_batch_view(old.name);
        PERFORM ml_internal.create_version_view(old.name);
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = old.owner AND rolname <> current_user) THEN
            EXECUTE format('GRANT SELECT ON models.%I TO %I WITH GRANT OPTION', old.name, old.owner);
        END IF;
        PERFORM ml_internal.copy_grants();
    END IF;
    PERFORM ml_internal.notify(action, old.name, wanted.artifact);
END
$$;

-- Makes what models of an older extension lack: the update to this one calls it, and whoever restores an older dump.
CREATE FUNCTION ml_internal.complete_models() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    model_name text;
    view_name text;
BEGIN
    FOR model_name IN SELECT m.name FROM ml.model AS m WHERE m.shape IS NOT NULL ORDER BY m.name LOOP
        view_name := model_name || '__version';
        IF view_name <> ALL (ml_internal.side_views(model_name)) THEN
            RAISE WARNING USING MESSAGE = format('model %L cannot be used by version: its name is too long', model_name),
                HINT = 'Train it again under a name of at most 54 bytes.';
        ELSIF view_name = ANY (ml_internal.own_views(model_name)) THEN
            CONTINUE;
        ELSIF to_regclass(format('models.%I', view_name)) IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '42P07',
                MESSAGE = format('schema "models" already has a relation that is in the way of model %L', model_name),
                HINT = format('Drop or rename models.%I.', view_name);
        ELSE
            PERFORM ml_internal.create_version_view(model_name);
        END IF;
    END LOOP;
    PERFORM ml_internal.copy_grants();
END
$$;

CREATE OR REPLACE FUNCTION ml_internal.check_model_name(model_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF model_name IS NULL OR model_name = '' OR octet_length(model_name) > 54
        OR model_name LIKE '%\_\_batch' OR model_name LIKE '%\_\_version'
    THEN
        RAISE EXCEPTION USING ERRCODE = '42602', MESSAGE = format('%L is no name for a model', model_name),
            HINT = 'A name has 1 to 54 bytes and does not end in "__batch" or "__version".';
    END IF;
END
$$;

-- Makes the model if it is new; afterwards its row is locked and the caller is known to own it.
CREATE OR REPLACE FUNCTION ml_internal.open_model(model_name text, caller name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOOP
        IF NOT EXISTS (SELECT FROM ml.model WHERE name = model_name) THEN
            PERFORM ml_internal.check_model_name(model_name);
            IF NOT has_schema_privilege(caller, 'models', 'CREATE') THEN
                RAISE EXCEPTION USING ERRCODE = '42501',
                    MESSAGE = format('role %L may not create models', caller),
                    HINT = format('GRANT CREATE ON SCHEMA models TO %I', caller);
            END IF;
            IF EXISTS (SELECT FROM pg_class WHERE relnamespace = 'models'::regnamespace
                AND relname = ANY (ml_internal.side_views(model_name) || model_name))
            THEN
                RAISE EXCEPTION USING ERRCODE = '42P07',
                    MESSAGE = format('schema "models" already has a relation that is in the way of model %L', model_name);
            END IF;
            INSERT INTO ml.model (name, owner) VALUES (model_name, caller) ON CONFLICT DO NOTHING;
        END IF;
        -- Whoever holds the row may be dropping the model: then it is a new one, whose creator the caller may be.
        PERFORM FROM ml.model WHERE name = model_name FOR UPDATE;
        EXIT WHEN FOUND;
    END LOOP;
    PERFORM ml_internal.require_model(model_name, caller);
END
$$;

CREATE OR REPLACE FUNCTION ml_internal.register_version(model text, signature jsonb, onnx bytea, info jsonb, caller name) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next_version integer;
BEGIN
    PERFORM ml_internal.check_signature(signature);
    IF onnx IS NULL OR octet_length(onnx) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the artifact is empty';
    END IF;
    PERFORM ml_internal.open_model(model, caller);
    SELECT coalesce(max(v.version), 0) + 1 INTO next_version FROM ml.model_version AS v
    WHERE v.model = register_version.model;
    INSERT INTO ml.model_version (model, version, artifact, signature, algorithm, parameters, metrics, parity, training,
        inline, unused, created_by)
    VALUES (model, next_version, ml_internal.store_artifact(onnx), signature, info ->> 'algorithm',
        coalesce(info -> 'parameters', '{}'), coalesce(info -> 'metrics', '{}'), coalesce(info -> 'parity', '{}'),
        coalesce(info -> 'training', '{}'),
        CASE jsonb_typeof(info -> 'inline') WHEN 'object' THEN info -> 'inline' END,
        ARRAY(SELECT jsonb_array_elements_text(
            CASE jsonb_typeof(info -> 'unused') WHEN 'array' THEN info -> 'unused' ELSE '[]' END)),
        caller);
    UPDATE ml.model AS m SET task = signature ->> 'task', target = signature #>> '{target,name}',
        target_type = signature #>> '{target,type}'
    WHERE m.name = register_version.model AND m.deployed_version IS NULL;
    RETURN next_version;
END
$$;

CREATE OR REPLACE FUNCTION ml_internal.drop_model(model text, caller name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_model ml.model := ml_internal.require_model(model, caller);
    unused text;
    view_name text;
BEGIN
    -- before the first deployment what has its names in schema "models" is somebody else's
    IF found_model.shape IS NOT NULL THEN
        FOREACH view_name IN ARRAY ml_internal.own_views(model) LOOP
            PERFORM ml_internal.drop_view(view_name, 'the model is dropped');
        END LOOP;
        PERFORM ml_internal.drop_view(model, 'the model is dropped');
        EXECUTE format('DROP FOREIGN TABLE ml_internal.%I', model || '#' || found_model.shape);
    END IF;
    DELETE FROM ml.deployment AS d WHERE d.model = drop_model.model;
    DELETE FROM ml.model_version AS v WHERE v.model = drop_model.model;
    DELETE FROM ml.model AS m WHERE m.name = drop_model.model;
    -- Somebody may be registering a version with an artifact that is here already: wait for that, and look
    -- afterwards. An older snapshot would not show it; then the next drop clears up.
    LOCK TABLE ml.artifact IN SHARE ROW EXCLUSIVE MODE;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN;
    END IF;
    FOR unused IN
        DELETE FROM ml.artifact AS a
        WHERE NOT EXISTS (SELECT FROM ml.model_version AS v WHERE v.artifact = a.sha256)
        RETURNING a.sha256
    LOOP
        PERFORM ml_internal.notify('drop', model, unused);
    END LOOP;
END
$$;

CREATE FUNCTION ml.explain(report text[], statement text) RETURNS TABLE ("QUERY PLAN" text)
LANGUAGE plpgsql AS $$
BEGIN
    IF (statement OPERATOR(pg_catalog.~*) '^\s*explain\M') IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'ml.explain runs EXPLAIN statements only';
    END IF;
    RETURN QUERY SELECT pg_catalog.unnest(report);
    -- a cursor, which refuses several statements in one text
    FOR "QUERY PLAN" IN EXECUTE statement LOOP
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ml.explain(text[], text) IS 'lines of a report, then the lines of an EXPLAIN statement';

-- The report becomes the first member of what EXPLAIN prints. Its text is kept: jsonb would sort the members.
CREATE FUNCTION ml.explain_json(report jsonb, statement text) RETURNS TABLE ("QUERY PLAN" json)
LANGUAGE plpgsql AS $$
DECLARE
    plan text;
    start integer;
BEGIN
    IF (statement OPERATOR(pg_catalog.~*) '^\s*explain\M') IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'ml.explain_json runs EXPLAIN statements only';
    END IF;
    FOR plan IN EXECUTE statement LOOP
        start := pg_catalog.strpos(plan, '{');
        "QUERY PLAN" := pg_catalog.concat(pg_catalog.substr(plan, 1, start), E'\n    "Predictions": ', report, ',',
            pg_catalog.substr(plan, start OPERATOR(pg_catalog.+) 1))::pg_catalog.json;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ml.explain_json(jsonb, text) IS 'what EXPLAIN (FORMAT JSON) prints, with a report as its member "Predictions"';

-- EXPLAIN of a foreign table of Multicorn can crash the server: any of version 1.4 if a condition holds an expression,
-- in later ones those of others with a column of an unsafe type. So where a query reaches one there is no estimate. What
-- it reaches is what PREPARE locks, through views too; a function that the planner inlines or a partition is found
-- by neither, so that a database with such things and with unsafe tables has no estimates. The generic plan of
-- EXPLAIN EXECUTE needs no values of parameters.
CREATE FUNCTION ml.estimate(query text, parameters integer[] DEFAULT '{}') RETURNS float8
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    unsafe oid[] := ARRAY(
        SELECT t.ftrelid FROM pg_catalog.pg_foreign_table AS t
        JOIN pg_catalog.pg_foreign_server AS s ON s.oid OPERATOR(pg_catalog.=) t.ftserver
        JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
        JOIN pg_catalog.pg_proc AS h ON h.oid OPERATOR(pg_catalog.=) w.fdwhandler
        WHERE h.proname OPERATOR(pg_catalog.=) 'multicorn_handler'
            AND (s.srvname OPERATOR(pg_catalog.<>) 'pgpredict'
                OR pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.<) 140000));
    has_unsafe boolean := pg_catalog.cardinality(unsafe) OPERATOR(pg_catalog.>) 0;
    types text;
    plan json;
BEGIN
    IF has_unsafe AND (
        EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid OPERATOR(pg_catalog.=) ANY (unsafe))
        OR EXISTS (
            SELECT FROM pg_catalog.pg_proc AS p
            JOIN pg_catalog.pg_language AS l ON l.oid OPERATOR(pg_catalog.=) p.prolang
            WHERE p.proretset AND p.provolatile OPERATOR(pg_catalog.<>) 'v' AND NOT p.proisstrict AND NOT p.prosecdef
                AND p.proconfig IS NULL AND l.lanname OPERATOR(pg_catalog.=) 'sql'
                AND p.pronamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace))
    THEN
        RETURN NULL;
    END IF;
    -- a number that is not used has to have a type
    SELECT pg_catalog.concat('(', pg_catalog.string_agg(
        CASE WHEN n.number OPERATOR(pg_catalog.=) ANY (parameters) THEN 'unknown' ELSE 'text' END, ', '), ')') INTO types
    FROM pg_catalog.generate_series(1, (SELECT pg_catalog.max(u) FROM pg_catalog.unnest(parameters) AS u)) AS n (number)
    HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0;
    BEGIN
        -- in parentheses, so that what is no query is a syntax error
        EXECUTE pg_catalog.concat('PREPARE "pgpredict estimate" ', types, ' AS (', query, E'\n)');
        IF NOT has_unsafe OR NOT EXISTS (
            SELECT FROM pg_catalog.pg_locks AS l
            WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.locktype OPERATOR(pg_catalog.=) 'relation'
                AND l.relation OPERATOR(pg_catalog.=) ANY (unsafe))
        THEN
            EXECUTE pg_catalog.concat('EXPLAIN (FORMAT JSON) EXECUTE "pgpredict estimate" ',
                pg_catalog.regexp_replace(types, '\w+', 'NULL', 'g')) INTO plan;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        plan := NULL;
    END;
    IF EXISTS (SELECT FROM pg_catalog.pg_prepared_statements AS p WHERE p.name OPERATOR(pg_catalog.=) 'pgpredict estimate') THEN
        DEALLOCATE "pgpredict estimate";
    END IF;
    RETURN (plan OPERATOR(pg_catalog.#>>) '{0,Plan,Plan Rows}')::pg_catalog.float8;
END
$$;
COMMENT ON FUNCTION ml.estimate(text, integer[]) IS
    'rows that PostgreSQL expects of a query, without running it, NULL where that cannot be told';

CREATE OR REPLACE VIEW ml.models WITH (security_barrier) AS
SELECT m.name, m.owner, m.task, m.target, m.target_type, m.deployed_version AS version, v.artifact, v.signature,
    v.algorithm, v.parameters, v.metrics, v.parity, v.training, v.created_at AS trained_at, m.created_at,
    v.inline, v.unused
FROM ml.model AS m LEFT JOIN ml.model_version AS v ON v.model = m.name AND v.version = m.deployed_version
WHERE ml_internal.may_use(m.name, m.owner, current_user);

CREATE OR REPLACE VIEW ml.versions WITH (security_barrier) AS
SELECT v.model, v.version, m.deployed_version IS NOT DISTINCT FROM v.version AS deployed, v.artifact, v.signature,
    v.algorithm, v.parameters, v.metrics, v.parity, v.training, v.created_at, v.created_by,
    v.inline, v.unused, ml_internal.prediction_type(v.signature) AS prediction_type
FROM ml.model_version AS v JOIN ml.model AS m ON m.name = v.model
WHERE ml_internal.may_use(m.name, m.owner, current_user);


-- Models that are there: their third view. What a script makes becomes a member of the extension, and what it grants the
-- privileges that pg_dump takes for granted; both end when the extension lets go of it.
DO $$
DECLARE
    made text;
BEGIN
    PERFORM ml_internal.complete_models();
    FOR made IN
        SELECT pg_catalog.format('models.%I', c.relname) FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = 'models'::pg_catalog.regnamespace AND EXISTS (
            SELECT FROM pg_catalog.pg_depend AS d
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
    LOOP
        EXECUTE pg_catalog.format('ALTER EXTENSION pgpredict DROP VIEW %s', made);
    END LOOP;
    FOR made IN
        SELECT pg_catalog.format('models.%I', c.relname) FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_init_privs AS i ON i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.objoid = c.oid
        WHERE c.relnamespace = 'models'::pg_catalog.regnamespace
    LOOP
        EXECUTE pg_catalog.format('ALTER EXTENSION pgpredict ADD VIEW %s', made);
        EXECUTE pg_catalog.format('ALTER EXTENSION pgpredict DROP VIEW %s', made);
    END LOOP;
END
$$;
