-- DISTINCT ON: the riskiest flight of each destination

--> with PREDICT
SELECT DISTINCT ON (dest) dest, id, flight, PROBABILITY(bench_late FOR 'yes') AS risk
FROM departures
WHERE day >= '2013-12-20'
ORDER BY dest, PROBABILITY(bench_late FOR 'yes') DESC, id

--> by hand
SELECT DISTINCT ON (dest) dest, id, flight, risk
FROM (
    SELECT unnest(b.dest) AS dest, unnest(b.id) AS id, unnest(b.flight) AS flight, unnest(ml.class_probability(m.probabilities, m.classes, 'yes')) AS risk
    FROM (
        SELECT array_agg(dest) AS dest, array_agg(id) AS id, array_agg(flight) AS flight, {batch} AS batch
        FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day >= '2013-12-20') s
        GROUP BY chunk
    ) b
    JOIN models.bench_late__batch m ON m.batch = b.batch
) p
ORDER BY dest, risk DESC, id
