-- HAVING: the routes that are late on average

--> with PREDICT
SELECT origin, dest, count(*), round(avg(PREDICT(bench_arrival))::numeric, 6) AS minutes
FROM departures
WHERE day >= '2013-12-10'
GROUP BY origin, dest
HAVING avg(PREDICT(bench_arrival)) > 15 AND count(*) > 20
ORDER BY origin, dest

--> by hand
SELECT origin, dest, count(*), round(avg(minutes)::numeric, 6) AS minutes
FROM (
    SELECT unnest(b.origin) AS origin, unnest(b.dest) AS dest, unnest(ml.float8s(m.prediction)) AS minutes
    FROM (
        SELECT array_agg(origin) AS origin, array_agg(dest) AS dest, {batch} AS batch
        FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day >= '2013-12-10') s
        GROUP BY chunk
    ) b
    JOIN models.bench_arrival__batch m ON m.batch = b.batch
) p
GROUP BY origin, dest
HAVING avg(minutes) > 15 AND count(*) > 20
ORDER BY origin, dest
