-- window functions over predictions: the rank of each flight within its airline

--> with PREDICT
SELECT id, carrier, rank() OVER (PARTITION BY carrier ORDER BY PROBABILITY(bench_late FOR 'yes') DESC) AS place,
       avg(PREDICT(bench_arrival)) OVER (PARTITION BY carrier) AS minutes
FROM departures
WHERE day >= '2013-12-20'

--> by hand
SELECT id, carrier, rank() OVER (PARTITION BY carrier ORDER BY risk DESC) AS place,
       avg(delay) OVER (PARTITION BY carrier) AS minutes
FROM (
    SELECT unnest(b.id) AS id, unnest(b.carrier) AS carrier, unnest(ml.class_probability(m.probabilities, m.classes, 'yes')) AS risk,
           unnest(ml.float8s(n.prediction)) AS delay
    FROM (
        SELECT array_agg(id) AS id, array_agg(carrier) AS carrier, {batch} AS batch, {batch} AS again
        FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day >= '2013-12-20') s
        GROUP BY chunk
    ) b
    JOIN models.bench_late__batch m ON m.batch = b.batch
    JOIN models.bench_arrival__batch n ON n.batch = b.again
) p
