-- a CTE that predicts, read twice

--> with PREDICT
WITH forecast AS (
    SELECT id, carrier, dest, PROBABILITY(bench_late FOR 'yes') AS risk
    FROM departures
    WHERE day >= '2013-12-10'
)
SELECT f.id, f.dest, f.risk
FROM forecast f
JOIN (SELECT carrier, max(risk) AS risk FROM forecast GROUP BY carrier) most USING (carrier, risk)
ORDER BY f.risk DESC, f.id

--> by hand
WITH forecast AS (
    SELECT unnest(b.id) AS id, unnest(b.carrier) AS carrier, unnest(b.dest) AS dest, unnest(ml.class_probability(m.probabilities, m.classes, 'yes')) AS risk
    FROM (
        SELECT array_agg(id) AS id, array_agg(carrier) AS carrier, array_agg(dest) AS dest, {batch} AS batch
        FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day >= '2013-12-10') s
        GROUP BY chunk
    ) b
    JOIN models.bench_late__batch m ON m.batch = b.batch
)
SELECT f.id, f.dest, f.risk
FROM forecast f
JOIN (SELECT carrier, max(risk) AS risk FROM forecast GROUP BY carrier) most USING (carrier, risk)
ORDER BY f.risk DESC, f.id
