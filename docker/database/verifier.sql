-- What the runtime's password is compared with; nothing where the role may not log in.
SELECT rolpassword FROM pg_authid WHERE rolname = 'pgpredict_runtime' AND rolcanlogin;
