-- UNION of predictions of two days and two models

--> with PREDICT
SELECT id, 'late' AS model, PREDICT(bench_late) AS prediction FROM departures WHERE day = '2013-12-16'
UNION
SELECT id, 'arrival', round(PREDICT(bench_arrival)::numeric)::text FROM departures WHERE day = '2013-12-17'

--> by hand
SELECT id, 'late' AS model, late AS prediction
FROM (
    SELECT unnest(b.id) AS id, unnest(ml.labels(m.prediction, m.classes)) AS late
    FROM (
        SELECT array_agg(id) AS id, {batch} AS batch
        FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day = '2013-12-16') s
        GROUP BY chunk
    ) b
    JOIN models.bench_late__batch m ON m.batch = b.batch
) p
UNION
SELECT id, 'arrival', round(minutes::numeric)::text
FROM (
    SELECT unnest(b.id) AS id, unnest(ml.float8s(m.prediction)) AS minutes
    FROM (
        SELECT array_agg(id) AS id, {batch} AS batch
        FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day = '2013-12-17') s
        GROUP BY chunk
    ) b
    JOIN models.bench_arrival__batch m ON m.batch = b.batch
) p
