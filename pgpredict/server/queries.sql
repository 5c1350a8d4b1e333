-- name: server
-- What doctor and status want to know of a running server.
SELECT split_part(current_setting('server_version'), ' ', 1),
       current_setting('port')::int,
       (SELECT setting FROM pg_config WHERE name = 'SHAREDIR')

-- name: planning
-- Settings that predictions feel: just-in-time compilation, and work_mem in bytes.
SELECT current_setting('jit'), (SELECT setting::bigint * 1024 FROM pg_settings WHERE name = 'work_mem')

-- name: runtime_role
-- Whether the runtime may log in.
SELECT rolcanlogin FROM pg_roles WHERE rolname = %s

-- name: bad_artifacts
-- Versions whose artifact is missing or is not what its hash says.
SELECT v.model, v.version,
       CASE WHEN a.sha256 IS NULL THEN 'is missing' ELSE 'does not fit its hash' END
FROM ml.model_version v
LEFT JOIN ml.artifact a ON a.sha256 = v.artifact
WHERE a.sha256 IS NULL OR encode(sha256(a.onnx), 'hex') <> a.sha256
ORDER BY v.model, v.version

-- name: artifacts
SELECT count(*) FROM ml.artifact

-- name: deployed
-- Deployed models, what NULL does in them, and the names and kinds of their features.
SELECT m.name, v.signature ->> 'on_missing',
       ARRAY(SELECT ARRAY[f.value ->> 'name', f.value ->> 'kind']
             FROM jsonb_array_elements(v.signature -> 'features') f)
FROM ml.model m
JOIN ml.model_version v ON v.model = m.name AND v.version = m.deployed_version
ORDER BY m.name

-- name: models
-- Models of a database, for status.
SELECT m.name, m.task, m.deployed_version,
       (SELECT count(*) FROM ml.model_version v WHERE v.model = m.name)
FROM ml.model m
ORDER BY m.name

-- name: file_status
-- Size and time of a file on the server's machine.
SELECT size, extract(epoch FROM modification) FROM pg_stat_file(%s, true)

-- name: trial_server
CREATE SERVER pgpredict_trial FOREIGN DATA WRAPPER multicorn OPTIONS (wrapper 'fdw.wrapper.ModelTable')

-- name: trial_schema
CREATE SCHEMA pgpredict_trial

-- name: trial_table
CREATE FOREIGN TABLE pgpredict_trial.t (x integer) SERVER pgpredict_trial

-- name: trial_select
SELECT * FROM pgpredict_trial.t

-- name: socket_option
-- Whether our foreign server has a socket of its own.
SELECT EXISTS (SELECT FROM unnest(srvoptions) o WHERE o LIKE 'socket=%') FROM pg_foreign_server
WHERE srvname = 'pgpredict'

-- name: databases
-- Databases that may be connected to.
SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname
