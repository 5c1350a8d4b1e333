-- Whether nothing can be written yet.
SELECT pg_is_in_recovery();
