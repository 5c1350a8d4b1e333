-- Brings the extension, where it is, to the version of the image's files; prints the one that it had.
SELECT extversion FROM pg_extension WHERE extname = 'pgpredict' AND extversion <> :'version';
SELECT 'ALTER EXTENSION pgpredict UPDATE'
FROM pg_extension WHERE extname = 'pgpredict' AND extversion <> :'version' \gexec
