-- UPDATE of a column of predictions

--> with PREDICT
UPDATE scores SET late = PREDICT(bench_late) WHERE day >= '2013-12-27'

--> by hand
UPDATE scores SET late = p.late
FROM (
    SELECT unnest(b.id) AS id, unnest(ml.labels(m.prediction, m.classes)) AS late
    FROM (
        SELECT array_agg(id) AS id, {batch} AS batch
        FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM scores WHERE day >= '2013-12-27') s
        GROUP BY chunk
    ) b
    JOIN models.bench_late__batch m ON m.batch = b.batch
) p
WHERE p.id = scores.id

--> shows
SELECT id, late FROM scores
