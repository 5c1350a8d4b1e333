-- several outputs of one model, for each row

--> with PREDICT
SELECT id, PREDICT(bench_late) AS late, PROBABILITY(bench_late) AS certainty,
       PROBABILITY(bench_late FOR 'yes') AS risk
FROM departures
WHERE day >= '2013-12-10'

--> by hand
SELECT unnest(b.id) AS id, unnest(ml.labels(m.prediction, m.classes)) AS late, unnest(ml.float8s(m.probability)) AS certainty, unnest(ml.class_probability(m.probabilities, m.classes, 'yes')) AS risk
FROM (
    SELECT array_agg(id) AS id, {batch} AS batch
    FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day >= '2013-12-10') s
    GROUP BY chunk
) b
JOIN models.bench_late__batch m ON m.batch = b.batch
