-- The runtime logs in with its password; the extension makes the role without that right.
SELECT format('ALTER ROLE pgpredict_runtime LOGIN PASSWORD %L', :'verifier')
FROM pg_roles WHERE rolname = 'pgpredict_runtime' \gexec
