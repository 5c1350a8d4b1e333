-- INSERT ... SELECT of two models over the same rows, as the demo does it

--> with PREDICT
INSERT INTO forecasts (flight_id, late, p_late, delay)
SELECT id, PREDICT(bench_late), PROBABILITY(bench_late FOR 'yes'), PREDICT(bench_arrival)
FROM departures
WHERE day >= '2013-12-10'

--> by hand
INSERT INTO forecasts (flight_id, late, p_late, delay)
SELECT unnest(b.id), unnest(ml.labels(m.prediction, m.classes)), unnest(ml.class_probability(m.probabilities, m.classes, 'yes')), unnest(ml.float8s(n.prediction))
FROM (
    SELECT array_agg(id) AS id, {batch} AS batch, {batch} AS again
    FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day >= '2013-12-10') s
    GROUP BY chunk
) b
JOIN models.bench_late__batch m ON m.batch = b.batch
JOIN models.bench_arrival__batch n ON n.batch = b.again

--> shows
SELECT flight_id, late, p_late, delay FROM forecasts
