-- pgpredict 0.2.0: catalog, functions and privileges.
-- Everything is qualified: the search_path of a script, of a session and of a restore differ.
\echo Use "CREATE EXTENSION pgpredict CASCADE" to load this file. \quit

CREATE SCHEMA ml;
COMMENT ON SCHEMA ml IS 'pgpredict: catalog of models and functions';
CREATE SCHEMA ml_internal;
COMMENT ON SCHEMA ml_internal IS 'pgpredict: foreign tables behind the model tables; nobody has USAGE';
CREATE SCHEMA models;
COMMENT ON SCHEMA models IS 'pgpredict: model tables; CREATE on this schema is the right to create models';
GRANT USAGE ON SCHEMA ml, models TO PUBLIC;

-- The runtime reads artifacts under this role and nothing else.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'pgpredict_runtime') THEN
        CREATE ROLE pgpredict_runtime NOLOGIN;
    END IF;
END
$$;

-- Whoever may use this server can name any importable class: USAGE is granted to nobody.
CREATE SERVER pgpredict FOREIGN DATA WRAPPER multicorn OPTIONS (wrapper 'fdw.wrapper.ModelTable');


-- Catalog -----------------------------------------------------------------------------------------

-- No foreign keys: pg_restore --jobs loads the tables of an extension in any order. Only the functions
-- below write here, each holds the lock of the model's row.

CREATE TABLE ml.artifact (
    sha256 text PRIMARY KEY CHECK (sha256 = pg_catalog.encode(pg_catalog.sha256(onnx), 'hex')),
    onnx bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.transaction_timestamp(),
    created_in xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id()
);
-- ONNX does not compress well; substring and length of it should not have to unpack it.
ALTER TABLE ml.artifact ALTER COLUMN onnx SET STORAGE EXTERNAL;
COMMENT ON TABLE ml.artifact IS 'ONNX models by content; immutable';
COMMENT ON COLUMN ml.artifact.created_in IS 'with created_at: tells the transaction that has not yet committed it';

CREATE TABLE ml.model (
    name text PRIMARY KEY,
    owner text NOT NULL,
    task text,
    target text,
    target_type text,
    deployed_version integer,
    deployed_artifact text,
    -- the foreign table behind the view: models."x" reads ml_internal."x#<shape>"
    shape text,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE ml.model IS 'models; deployed_version and deployed_artifact are the pointer that the model tables follow';

CREATE TABLE ml.model_version (
    model text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    artifact text NOT NULL,
    signature jsonb NOT NULL,
    algorithm text,
    parameters jsonb NOT NULL DEFAULT '{}',
    metrics jsonb NOT NULL DEFAULT '{}',
    parity jsonb NOT NULL DEFAULT '{}',
    training jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    created_by text NOT NULL,
    -- the model as SQL, if it was certified to be equal to the artifact
    inline jsonb,
    -- features without influence on any output
    unused text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (model, version)
);
CREATE INDEX model_version_artifact ON ml.model_version (artifact);
COMMENT ON TABLE ml.model_version IS 'versions of models; immutable';

CREATE TABLE ml.deployment (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    version integer NOT NULL,
    -- what was deployed before, which is what a rollback goes back to
    previous_deployment bigint,
    action text NOT NULL CHECK (action IN ('deploy', 'rollback')),
    deployed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    deployed_by text NOT NULL
);
CREATE INDEX deployment_model ON ml.deployment (model, id);
COMMENT ON TABLE ml.deployment IS 'history of deployments';

SELECT pg_catalog.pg_extension_config_dump('ml.artifact', '');
SELECT pg_catalog.pg_extension_config_dump('ml.model', '');
SELECT pg_catalog.pg_extension_config_dump('ml.model_version', '');
SELECT pg_catalog.pg_extension_config_dump('ml.deployment', '');
SELECT pg_catalog.pg_extension_config_dump('ml.deployment_id_seq', '');

GRANT SELECT ON ml.artifact TO pgpredict_runtime;


-- Errors ------------------------------------------------------------------------------------------

-- The wrapper cannot give an error a SQLSTATE: Multicorn reports XX000 (and version 1.4 a traceback),
-- and each exception that reaches it leaks memory. So the wrapper returns a row whose column
-- "$problem" holds the error as JSON; reading that value into this domain raises it in plain SQL.
CREATE FUNCTION ml_internal.fail(problem text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state text := coalesce(problem::json ->> 'sqlstate', 'XX000');
    message text := coalesce(problem::json ->> 'message', 'unknown error of a model table');
    hint text := problem::json ->> 'hint';
BEGIN
    IF hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message;
    END IF;
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, HINT = hint;
END
$$;

CREATE DOMAIN ml_internal.problem AS text CHECK (ml_internal.fail(VALUE));


-- Bytes and arrays --------------------------------------------------------------------------------

-- The memory of an array without its length word; no work per element.
CREATE FUNCTION ml.raw(float8[]) RETURNS bytea
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteasend';
COMMENT ON FUNCTION ml.raw(float8[]) IS 'memory of an array, as batch texts carry it';

-- The way back. Bytes that are no array can crash the server: only ml.float8s may call it, after its checks.
-- byteasend copies, so the array is aligned wherever the bytes came from.
CREATE FUNCTION ml_internal.reinterpret(bytea) RETURNS float8[]
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteasend';
REVOKE ALL ON FUNCTION ml_internal.reinterpret(bytea) FROM PUBLIC;

-- A row as the JSON text that the column "features" of a model table takes. to_json under another
-- name: a json is a text in memory, and a cast to text instead would be misread by Multicorn.
CREATE FUNCTION ml.features(anyelement) RETURNS text
LANGUAGE internal STABLE STRICT PARALLEL SAFE AS 'to_json';
COMMENT ON FUNCTION ml.features(anyelement) IS 'row as JSON text, for the column "features" of model tables';

-- Copies of a value that hide the column behind them from Multicorn: a comparison of a bytea or array
-- column with a parameter would be pushed down, and EXPLAIN of that crashes the server.
CREATE FUNCTION ml_internal.opaque(bytea) RETURNS bytea
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteasend';
CREATE FUNCTION ml_internal.opaque(text[]) RETURNS text[]
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteasend';

-- An int4 as the machine stores it. This and what else each batch calls is PL/pgSQL, which keeps its plans for the
-- session: PostgreSQL would parse and plan a function in SQL anew in every statement, 0.05 ms each.
CREATE FUNCTION ml_internal.native(value integer) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE WHEN get_byte(ml.raw(ARRAY[0]::float8[]), 0) = 0 THEN int4send(value)
        ELSE set_byte(set_byte(set_byte(set_byte('\x00000000'::bytea,
            0, value & 255), 1, value >> 8 & 255), 2, value >> 16 & 255), 3, value >> 24 & 255)
    END;
END
$$;

-- Header of a one-dimensional float8[] without NULLs: ndim, dataoffset, element type; dimension; lower bound.
CREATE FUNCTION ml_internal.header(elements integer) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN substring(ml.raw(ARRAY[0]::float8[]) FROM 1 FOR 12)
        || ml_internal.native(elements) || ml_internal.native(1);
END
$$;

CREATE FUNCTION ml.float8s(value bytea) RETURNS float8[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF value = ml.raw('{}'::float8[]) THEN
        RETURN '{}';
    END IF;
    IF octet_length(value) < 28 OR (octet_length(value) - 20) % 8 <> 0
        OR substring(value FROM 1 FOR 20) <> ml_internal.header((octet_length(value) - 20) / 8)
    THEN
        RAISE EXCEPTION USING
            ERRCODE = '22P03',
            MESSAGE = format('%s bytes are not the memory of a one-dimensional float8[]', octet_length(value)),
            HINT = 'ml.float8s takes what a batch table returns.';
    END IF;
    RETURN ml_internal.reinterpret(value);
END
$$;
COMMENT ON FUNCTION ml.float8s(bytea) IS 'array whose memory a batch table returned';

CREATE FUNCTION ml.class_probability(probabilities bytea, classes text[], class text) RETURNS float8[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted integer := array_position(classes, class);
    length integer;
BEGIN
    IF probabilities IS NULL THEN
        RETURN NULL;
    END IF;
    IF wanted IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = '22023',
            MESSAGE = format('the model has no class %L', class),
            HINT = format('Its classes are %s.', coalesce(
                (SELECT string_agg(quote_literal(known), ', ') FROM unnest(classes) AS known), 'none: it is a regression'));
    END IF;
    IF probabilities = ml.raw('{}'::float8[]) THEN
        RETURN '{}';
    END IF;
    length := (octet_length(probabilities) - 20) / cardinality(classes);
    IF octet_length(probabilities) < 28 OR length % 8 <> 0 OR length * cardinality(classes) <> octet_length(probabilities) - 20 THEN
        RAISE EXCEPTION USING
            ERRCODE = '22P03',
            MESSAGE = format('%s bytes are not the probabilities of %s classes',
                octet_length(probabilities), cardinality(classes));
    END IF;
    RETURN ml.float8s(ml_internal.header(length / 8)
        || substring(probabilities FROM 21 + (wanted - 1) * length FOR length));
END
$$;
COMMENT ON FUNCTION ml.class_probability(bytea, text[], text) IS 'probability of one class in each row of a batch';

CREATE FUNCTION ml.labels(prediction bytea, classes text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT classes[item::integer] FROM unnest(ml.float8s(prediction)) AS item);
END
$$;
COMMENT ON FUNCTION ml.labels(bytea, text[]) IS 'predicted class of each row of a batch';

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


-- Who is calling ----------------------------------------------------------------------------------

-- Inside SECURITY DEFINER functions current_user is their owner, and session_user is whoever logged in: a superuser
-- whose ANALYZE runs the function of somebody's index. A trigger that is no SECURITY DEFINER runs as the caller, so each
-- request is an INSERT into this view: its first trigger writes down who calls, its second does what is asked.
CREATE VIEW ml.request AS
SELECT NULL::name AS caller, NULL::text AS action, NULL::text AS model, NULL::integer AS version,
    NULL::jsonb AS signature, NULL::bytea AS onnx, NULL::jsonb AS info
WHERE false;
COMMENT ON VIEW ml.request IS 'what ml.deploy and the like insert into; it is always empty';
GRANT SELECT, INSERT ON ml.request TO PUBLIC;

CREATE FUNCTION ml_internal.sign_request() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.caller := current_user;
    RETURN NEW;
END
$$;

CREATE FUNCTION ml_internal.owns(model_owner text, role_name text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = role_name), false)
        OR coalesce((SELECT pg_has_role(role_name::name, oid, 'USAGE') FROM pg_roles WHERE rolname = model_owner), false)
$$;

CREATE FUNCTION ml_internal.require_model(model_name text, caller name) RETURNS ml.model
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_model ml.model;
BEGIN
    -- Writers of one model queue here; predictions only read the row and never wait.
    SELECT * INTO found_model FROM ml.model WHERE name = model_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '42704', MESSAGE = format('model %L does not exist', model_name),
            HINT = 'SELECT name FROM ml.models lists the models.';
    END IF;
    IF NOT ml_internal.owns(found_model.owner, caller) THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = format('must be owner of model %L', model_name);
    END IF;
    RETURN found_model;
END
$$;


-- Shapes: the columns of a model table ------------------------------------------------------------

CREATE FUNCTION ml_internal.column_type(feature_type text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    -- Only types that survive EXPLAIN under Multicorn, and that come and go unchanged. A float4 column
    -- cannot be compared with 0.1, which is a float8: such features are float8 columns.
    SELECT CASE
        WHEN feature_type IN ('smallint', 'integer', 'bigint', 'double precision', 'boolean', 'text',
            'character varying', 'date') THEN feature_type
        WHEN feature_type IN ('real', 'numeric') THEN 'double precision'
        ELSE 'text'
    END
$$;

-- The SQL name of the target's type, NULL if predictions cannot be cast to it. This runs with the rights of the
-- extension's owner and the cast with those of whoever predicts, so nothing that a model's creator brought may take
-- part: the check of a domain, the function of a cast. The catalogs are asked, the cast is not tried.
CREATE FUNCTION ml_internal.target_type(task text, type_name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_type regtype;
    carrier regtype := CASE task WHEN 'regression' THEN 'float8' ELSE 'text' END;
BEGIN
    found_type := to_regtype(type_name);
    IF found_type IS NULL THEN
        -- An enum is named as the trainer saw it; it may live in any schema.
        SELECT min(oid::bigint)::oid::regtype INTO found_type FROM pg_type
        WHERE typtype IN ('e', 'd') AND (typname = type_name OR format_type(oid, NULL) = type_name)
        HAVING count(*) = 1;
    END IF;
    WHILE (SELECT typtype = 'd' FROM pg_type WHERE oid = found_type) LOOP
        found_type := (SELECT typbasetype FROM pg_type WHERE oid = found_type);
    END LOOP;
    RETURN (
        SELECT t.oid::regtype::text FROM pg_type AS t LEFT JOIN pg_cast AS c ON c.castsource = carrier AND c.casttarget = t.oid
        WHERE t.oid = found_type AND CASE t.typtype
            WHEN 'e' THEN carrier = 'text'::regtype AND c.oid IS NULL
            -- only superusers make such types and casts to them; an array may hold a domain
            WHEN 'b' THEN (t.typelem = 0 OR t.typnamespace = 'pg_catalog'::regnamespace)
                AND (carrier = 'text'::regtype OR carrier = t.oid OR c.oid IS NOT NULL OR t.typcategory = 'S')
            ELSE false
        END
    );
EXCEPTION WHEN undefined_object OR syntax_error OR feature_not_supported OR invalid_name OR invalid_parameter_value
    OR invalid_text_representation
THEN
    RETURN NULL;
END
$$;

-- Columns "probability_<class>": none if they are too many; those left out that are too long or not unique.
CREATE FUNCTION ml_internal.class_columns(signature jsonb) RETURNS TABLE (place bigint, class text, name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.place, c.class, 'probability_' || c.class
    FROM jsonb_array_elements_text(signature -> 'classes') WITH ORDINALITY AS c (class, place)
    WHERE jsonb_array_length(signature -> 'classes') <= 100
        AND octet_length('probability_' || c.class) <= 63
        AND NOT EXISTS (SELECT FROM jsonb_array_elements(signature -> 'features') AS f
            WHERE f ->> 'name' = 'probability_' || c.class)
$$;

CREATE FUNCTION ml_internal.foreign_columns(signature jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(definition, E',\n    ' ORDER BY part, place) FROM (
        SELECT 1 AS part, f.place, format('%I %s OPTIONS (role ''feature'', kind %L, type %L)', f.feature ->> 'name',
            ml_internal.column_type(f.feature ->> 'type'), f.feature ->> 'kind', f.feature ->> 'type') AS definition
        FROM jsonb_array_elements(signature -> 'features') WITH ORDINALITY AS f (feature, place)
        UNION ALL VALUES
            (2, 1::bigint, 'features text OPTIONS (role ''features'')'),
            (2, 2, format('prediction %s OPTIONS (role ''prediction'')',
                CASE signature ->> 'task' WHEN 'regression' THEN 'double precision' ELSE 'text' END)),
            (5, 1, '"$artifact" text OPTIONS (role ''artifact'')'),
            (5, 2, '"$problem" ml_internal.problem OPTIONS (role ''problem'')')
        UNION ALL SELECT 3, 1, 'probability double precision OPTIONS (role ''probability'')'
        WHERE signature ->> 'task' <> 'regression'
        UNION ALL SELECT 4, place, format('%I double precision OPTIONS (role ''class'', class %L)', name, class)
        FROM ml_internal.class_columns(signature)
    ) AS parts
$$;

-- The type of a version's predictions in SQL. The caller may see it, and has no rights on schema ml_internal.
CREATE FUNCTION ml_internal.prediction_type(signature jsonb) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(ml_internal.target_type(signature ->> 'task', signature #>> '{target,type}'),
        CASE signature ->> 'task' WHEN 'regression' THEN 'double precision' ELSE 'text' END)
$$;

-- The prediction in the target's own type. Always an expression where that is not text or float8: the
-- foreign column has a type that is safe under EXPLAIN.
CREATE FUNCTION ml_internal.prediction_column(signature jsonb) RETURNS text
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

CREATE FUNCTION ml_internal.view_columns(signature jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(item, ', ' ORDER BY part, place) FROM (
        SELECT 1 AS part, f.place, format('r.%I', f.feature ->> 'name') AS item
        FROM jsonb_array_elements(signature -> 'features') WITH ORDINALITY AS f (feature, place)
        UNION ALL VALUES (2, 1::bigint, 'r.features'), (2, 2, ml_internal.prediction_column(signature))
        UNION ALL SELECT 3, 1, 'r.probability' WHERE signature ->> 'task' <> 'regression'
        UNION ALL SELECT 4, place, format('r.%I', name) FROM ml_internal.class_columns(signature)
    ) AS parts
$$;

CREATE FUNCTION ml_internal.shape(signature jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT substring(md5(ml_internal.foreign_columns(signature) || ml_internal.view_columns(signature)) FROM 1 FOR 6)
$$;

CREATE FUNCTION ml_internal.check_signature(signature jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    problem text;
    feature jsonb;
BEGIN
    problem := CASE
        WHEN signature IS NULL OR jsonb_typeof(signature) <> 'object' THEN 'signature is not a JSON object'
        WHEN coalesce(signature ->> 'format', '') <> '1'
            THEN format('signature format %L is unknown', signature ->> 'format')
        WHEN coalesce(signature ->> 'task', '') NOT IN ('binary', 'multiclass', 'regression')
            THEN format('task %L is unknown', signature ->> 'task')
        WHEN jsonb_typeof(signature #> '{target,name}') IS DISTINCT FROM 'string'
            OR jsonb_typeof(signature #> '{target,type}') IS DISTINCT FROM 'string' THEN 'signature has no target'
        WHEN jsonb_typeof(signature -> 'classes') IS DISTINCT FROM 'array'
            OR (signature ->> 'task' = 'regression') <> (jsonb_array_length(signature -> 'classes') = 0)
            THEN 'classes do not fit the task'
        WHEN jsonb_typeof(signature -> 'features') IS DISTINCT FROM 'array'
            OR jsonb_array_length(signature -> 'features') = 0 THEN 'signature has no features'
        WHEN jsonb_array_length(signature -> 'features') > 1400
            THEN format('%s features are too many for a table, the limit is 1400', jsonb_array_length(signature -> 'features'))
    END;
    IF problem IS NULL THEN
        FOR feature IN SELECT jsonb_array_elements(signature -> 'features') LOOP
            problem := CASE
                WHEN jsonb_typeof(feature -> 'name') IS DISTINCT FROM 'string'
                    OR jsonb_typeof(feature -> 'type') IS DISTINCT FROM 'string'
                    OR jsonb_typeof(feature -> 'kind') IS DISTINCT FROM 'string' THEN 'a feature lacks name, type or kind'
                WHEN feature ->> 'name' = '' OR octet_length(feature ->> 'name') > 63
                    THEN format('feature name %L is no column name (1 to 63 bytes)', feature ->> 'name')
                WHEN feature ->> 'name' IN ('prediction', 'probability', 'features', '$artifact', '$problem')
                    THEN format('feature %L is named like a column that every model has', feature ->> 'name')
                WHEN feature ->> 'name' IN ('tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid')
                    THEN format('feature %L is named like a system column', feature ->> 'name')
            END;
            EXIT WHEN problem IS NOT NULL;
        END LOOP;
    END IF;
    IF problem IS NULL THEN
        SELECT format('feature %L appears twice', name) INTO problem FROM (
            SELECT f ->> 'name' AS name FROM jsonb_array_elements(signature -> 'features') AS f) AS names
        GROUP BY name HAVING count(*) > 1 LIMIT 1;
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem,
            HINT = 'A signature is what onnx_models writes; rename columns in the training query.';
    END IF;
END
$$;


-- Batch form --------------------------------------------------------------------------------------

-- One foreign table serves the batch form of every model.
CREATE FOREIGN TABLE ml_internal."$batch" (
    batch text OPTIONS (role 'batch'),
    rows integer OPTIONS (role 'rows'),
    classes text[] OPTIONS (role 'classes'),
    prediction bytea OPTIONS (role 'prediction'),
    probability bytea OPTIONS (role 'probability'),
    probabilities bytea OPTIONS (role 'probabilities'),
    "$artifact" text OPTIONS (role 'artifact'),
    "$problem" ml_internal.problem OPTIONS (role 'problem')
) SERVER pgpredict OPTIONS (form 'batch');

CREATE FUNCTION ml_internal.create_batch_view(model_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format($view$
        CREATE VIEW models.%I AS
        SELECT r.batch, r.rows, ml_internal.opaque(r.classes) AS classes,
            ml_internal.opaque(r.prediction) AS prediction, ml_internal.opaque(r.probability) AS probability,
            ml_internal.opaque(r.probabilities) AS probabilities
        FROM ml.model AS p JOIN ml_internal."$batch" AS r ON r."$artifact" = p.deployed_artifact
        WHERE p.name = %L
    $view$, model_name || '__batch', model_name);
    EXECUTE format('COMMENT ON VIEW models.%I IS %L', model_name || '__batch',
        format('model %s, a batch of rows at a time', model_name));
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


-- Privileges --------------------------------------------------------------------------------------

-- A role as GRANT takes it.
CREATE FUNCTION ml_internal.grantee(role_id oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE role_id WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role_id)) END
$$;

CREATE FUNCTION ml_internal.execute_all(statements text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statement text;
BEGIN
    FOREACH statement IN ARRAY coalesce(statements, '{}') LOOP
        EXECUTE statement;
    END LOOP;
END
$$;

-- What may be done with one form of a model may be done with the others: bring the SELECT privileges of the
-- views beside it to those of the model table. Only views that differ are touched, and only ours.
CREATE FUNCTION ml_internal.copy_grants() RETURNS void
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

CREATE FUNCTION ml_internal.on_grant() RETURNS event_trigger
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

CREATE EVENT TRIGGER pgpredict_grants ON ddl_command_end
    WHEN TAG IN ('GRANT', 'REVOKE') EXECUTE FUNCTION ml_internal.on_grant();


-- Model tables ------------------------------------------------------------------------------------

CREATE FUNCTION ml_internal.create_foreign_table(model_name text, table_name text, signature jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE FOREIGN TABLE ml_internal.%I (%s) SERVER pgpredict OPTIONS (form ''row'', model %L, task %L)',
        table_name, ml_internal.foreign_columns(signature), model_name, signature ->> 'task');
END
$$;

-- Remakes the model table for another shape, with the grants it had. Nothing of the user's is dropped:
-- where other objects depend on the view and its columns cannot be extended in place, this is an error.
CREATE FUNCTION ml_internal.reshape(old ml.model, signature jsonb, new_shape text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old_table text := old.name || '#' || old.shape;
    new_table text := old.name || '#' || new_shape;
    definition text := format('VIEW models.%I AS SELECT %s FROM ml.model AS p '
        'JOIN ml_internal.%I AS r ON r."$artifact" = p.deployed_artifact WHERE p.name = %L',
        old.name, ml_internal.view_columns(signature), new_table, old.name);
    grants text[];
BEGIN
    PERFORM ml_internal.create_foreign_table(old.name, new_table, signature);
    BEGIN
        -- a view that somebody made before the first deployment is not ours to replace: its owner would stay
        EXECUTE CASE WHEN old.shape IS NULL THEN 'CREATE ' ELSE 'CREATE OR REPLACE ' END || definition;
    EXCEPTION WHEN invalid_table_definition THEN
        SELECT array_agg(format('GRANT %s ON models.%I TO %s%s', a.privilege_type, old.name,
            ml_internal.grantee(a.grantee), CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END))
        INTO grants FROM pg_class AS c, aclexplode(c.relacl) AS a
        WHERE c.oid = to_regclass(format('models.%I', old.name)) AND a.grantee <> c.relowner;
        PERFORM ml_internal.drop_view(old.name, 'its version has other features or classes');
        EXECUTE 'CREATE ' || definition;
        PERFORM ml_internal.execute_all(grants);
    END;
    IF old.shape IS NOT NULL THEN
        EXECUTE format('DROP FOREIGN TABLE ml_internal.%I', old_table);
    END IF;
    EXECUTE format('COMMENT ON VIEW models.%I IS %L', old.name, format('model %s: %s of %s', old.name,
        signature ->> 'task', signature #>> '{target,name}'));
END
$$;

CREATE FUNCTION ml_internal.drop_view(view_name text, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dependants text;
BEGIN
    EXECUTE format('DROP VIEW IF EXISTS models.%I', view_name);
EXCEPTION WHEN dependent_objects_still_exist THEN
    GET STACKED DIAGNOSTICS dependants = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION USING ERRCODE = '2BP01',
        MESSAGE = format('model table models.%I cannot be dropped because other objects depend on it', view_name),
        DETAIL = format('It has to be dropped: %s. %s', reason, dependants),
        HINT = 'Drop those objects first, and create them again afterwards.';
END
$$;

CREATE FUNCTION ml_internal.notify(event text, model_name text, artifact text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_notify('pgpredict', json_build_object('event', event, 'model', model_name, 'artifact', artifact)::text)
$$;

-- Points a model at a version: the UPDATE of one row, and new views only if the columns change.
CREATE FUNCTION ml_internal.point(
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


-- What users ask for -------------------------------------------------------------------------------

CREATE FUNCTION ml_internal.check_model_name(model_name text) RETURNS void
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
CREATE FUNCTION ml_internal.open_model(model_name text, caller name) RETURNS void
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

CREATE FUNCTION ml_internal.store_artifact(content bytea) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    sha text := encode(sha256(content), 'hex');
BEGIN
    INSERT INTO ml.artifact (sha256, onnx) VALUES (sha, content) ON CONFLICT DO NOTHING;
    RETURN sha;
END
$$;

CREATE FUNCTION ml_internal.register_version(model text, signature jsonb, onnx bytea, info jsonb, caller name) RETURNS integer
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

CREATE FUNCTION ml_internal.require_version(model_name text, wanted integer) RETURNS ml.model_version
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_version ml.model_version;
BEGIN
    SELECT * INTO found_version FROM ml.model_version AS v
    WHERE v.model = model_name AND (wanted IS NULL OR v.version = wanted) ORDER BY v.version DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '42704',
            MESSAGE = format('model %L has no version %s', model_name, coalesce(wanted::text, 'at all')),
            HINT = 'SELECT * FROM ml.versions lists the versions.';
    END IF;
    RETURN found_version;
END
$$;

CREATE FUNCTION ml_internal.deploy(model text, version integer, caller name) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_model ml.model := ml_internal.require_model(model, caller);
    wanted ml.model_version := ml_internal.require_version(model, version);
    latest bigint;
BEGIN
    SELECT max(d.id) INTO latest FROM ml.deployment AS d WHERE d.model = deploy.model;
    IF found_model.deployed_version IS DISTINCT FROM wanted.version THEN
        PERFORM ml_internal.point(found_model, wanted, 'deploy', latest, caller);
    END IF;
    RETURN wanted.version;
END
$$;

CREATE FUNCTION ml_internal.rollback(model text, caller name) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_model ml.model := ml_internal.require_model(model, caller);
    target ml.deployment;
BEGIN
    -- The one before the latest; a rollback stands for what it went back to, so a second one goes further back.
    SELECT before.* INTO target FROM ml.deployment AS latest
    JOIN ml.deployment AS before ON before.id = latest.previous_deployment
    WHERE latest.id = (SELECT max(d.id) FROM ml.deployment AS d WHERE d.model = rollback.model);
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('model %L has no earlier deployment to go back to', model);
    END IF;
    PERFORM ml_internal.point(found_model, ml_internal.require_version(model, target.version), 'rollback',
        target.previous_deployment, caller);
    RETURN target.version;
END
$$;

CREATE FUNCTION ml_internal.drop_model(model text, caller name) RETURNS void
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

CREATE FUNCTION ml_internal.export(model text, version integer, caller name) RETURNS bytea
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_model ml.model := ml_internal.require_model(model, caller);
    wanted ml.model_version := ml_internal.require_version(model,
        coalesce(version, found_model.deployed_version));
BEGIN
    RETURN (SELECT a.onnx FROM ml.artifact AS a WHERE a.sha256 = wanted.artifact);
END
$$;


-- Functions for users -----------------------------------------------------------------------------

CREATE FUNCTION ml_internal.perform_request() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE NEW.action
        WHEN 'register' THEN
            NEW.version := ml_internal.register_version(NEW.model, NEW.signature, NEW.onnx, NEW.info, NEW.caller);
        WHEN 'deploy' THEN NEW.version := ml_internal.deploy(NEW.model, NEW.version, NEW.caller);
        WHEN 'rollback' THEN NEW.version := ml_internal.rollback(NEW.model, NEW.caller);
        WHEN 'drop' THEN PERFORM ml_internal.drop_model(NEW.model, NEW.caller);
        WHEN 'export' THEN NEW.onnx := ml_internal.export(NEW.model, NEW.version, NEW.caller);
        ELSE RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('action %L is unknown', NEW.action),
            HINT = 'Call ml.register_version, ml.deploy, ml.rollback, ml.drop_model or ml.export.';
    END CASE;
    RETURN NEW;
END
$$;

-- Triggers run in the order of their names.
CREATE TRIGGER "1_sign" INSTEAD OF INSERT ON ml.request
    FOR EACH ROW EXECUTE FUNCTION ml_internal.sign_request();
CREATE TRIGGER "2_perform" INSTEAD OF INSERT ON ml.request
    FOR EACH ROW EXECUTE FUNCTION ml_internal.perform_request();

CREATE FUNCTION ml.register_version(model text, signature jsonb, onnx bytea, info jsonb DEFAULT '{}') RETURNS integer
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO ml.request (action, model, signature, onnx, info)
    VALUES ('register', model, signature, onnx, info) RETURNING request.version
$$;
COMMENT ON FUNCTION ml.register_version(text, jsonb, bytea, jsonb) IS
    'store a version of a model; returns its number';

CREATE FUNCTION ml.deploy(model text, version integer DEFAULT NULL) RETURNS integer
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO ml.request (action, model, version) VALUES ('deploy', model, version) RETURNING request.version
$$;
COMMENT ON FUNCTION ml.deploy(text, integer) IS
    'make a version (by default the newest) the one that answers, from the next statement on';

CREATE FUNCTION ml.rollback(model text) RETURNS integer
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO ml.request (action, model) VALUES ('rollback', model) RETURNING request.version
$$;
COMMENT ON FUNCTION ml.rollback(text) IS 'deploy again what was deployed before';

CREATE FUNCTION ml.drop_model(model text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO ml.request (action, model) VALUES ('drop', model)
$$;
COMMENT ON FUNCTION ml.drop_model(text) IS 'drop a model, its versions, and artifacts that no other model uses';

CREATE FUNCTION ml.export(model text, version integer DEFAULT NULL) RETURNS bytea
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO ml.request (action, model, version) VALUES ('export', model, version) RETURNING request.onnx
$$;
COMMENT ON FUNCTION ml.export(text, integer) IS 'the ONNX model of a version, by default of the deployed one';


-- Views for users ---------------------------------------------------------------------------------

-- In a view current_user is the caller.
CREATE FUNCTION ml_internal.may_use(model_name text, model_owner text, role_name name) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(has_table_privilege(role_name, to_regclass(format('models.%I', model_name)), 'SELECT'), false)
        OR ml_internal.owns(model_owner, role_name::text)
$$;

CREATE VIEW ml.models WITH (security_barrier) AS
SELECT m.name, m.owner, m.task, m.target, m.target_type, m.deployed_version AS version, v.artifact, v.signature,
    v.algorithm, v.parameters, v.metrics, v.parity, v.training, v.created_at AS trained_at, m.created_at,
    v.inline, v.unused
FROM ml.model AS m LEFT JOIN ml.model_version AS v ON v.model = m.name AND v.version = m.deployed_version
WHERE ml_internal.may_use(m.name, m.owner, current_user);
COMMENT ON VIEW ml.models IS 'models that the current user may use or owns, with their deployed version';

CREATE VIEW ml.versions WITH (security_barrier) AS
SELECT v.model, v.version, m.deployed_version IS NOT DISTINCT FROM v.version AS deployed, v.artifact, v.signature,
    v.algorithm, v.parameters, v.metrics, v.parity, v.training, v.created_at, v.created_by,
    v.inline, v.unused, ml_internal.prediction_type(v.signature) AS prediction_type
FROM ml.model_version AS v JOIN ml.model AS m ON m.name = v.model
WHERE ml_internal.may_use(m.name, m.owner, current_user);
COMMENT ON VIEW ml.versions IS 'versions of the models that the current user may use or owns';

GRANT SELECT ON ml.models, ml.versions TO PUBLIC;


-- What the rewriter asks for -----------------------------------------------------------------------

-- These run texts of the caller's with the caller's rights and names: no SET search_path, and everything qualified.

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
