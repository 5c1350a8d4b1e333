-- a whole table scored by a linear model, and summed up

--> with PREDICT
SELECT count(*), round(avg(minutes)::numeric, 6) AS minutes, round(max(minutes)::numeric, 6) AS most
FROM (SELECT PREDICT(bench_minutes) AS minutes FROM flights WHERE dep_delay IS NOT NULL) p

--> by hand
SELECT count(*), round(avg(minutes)::numeric, 6) AS minutes, round(max(minutes)::numeric, 6) AS most
FROM (
    SELECT unnest(ml.float8s(m.prediction)) AS minutes
    FROM (
        SELECT {few} AS batch
        FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM flights WHERE dep_delay IS NOT NULL) s
        GROUP BY chunk
    ) b
    JOIN models.bench_minutes__batch m ON m.batch = b.batch
) p
