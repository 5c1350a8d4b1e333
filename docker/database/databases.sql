-- Databases that may have the extension; of a name with a line break only psql's own prompt would be sure.
SELECT datname FROM pg_database WHERE datallowconn AND datname !~ '[\r\n]' ORDER BY datname;
