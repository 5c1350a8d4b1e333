-- PREDICT in JOIN ... ON: the class of delay that each flight is expected in

--> with PREDICT
SELECT d.id, c.name
FROM departures d
JOIN classes c ON PREDICT(bench_arrival USING d.*) >= c.least AND PREDICT(bench_arrival USING d.*) < c.below
WHERE d.day = '2013-12-30' AND d.origin = 'JFK'

--> by hand
SELECT p.id, c.name
FROM (
    SELECT unnest(b.id) AS id, unnest(ml.float8s(m.prediction)) AS minutes
    FROM (
        SELECT array_agg(id) AS id, {batch} AS batch
        FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day = '2013-12-30' AND origin = 'JFK') s
        GROUP BY chunk
    ) b
    JOIN models.bench_arrival__batch m ON m.batch = b.batch
) p
JOIN classes c ON p.minutes >= c.least AND p.minutes < c.below
