-- CREATE TABLE AS with a prediction

--> with PREDICT
CREATE TABLE made AS
SELECT id, carrier, flight, day, PREDICT(bench_late) AS late
FROM departures
WHERE day >= '2013-12-10'

--> by hand
CREATE TABLE made AS
SELECT unnest(b.id) AS id, unnest(b.carrier) AS carrier, unnest(b.flight) AS flight, unnest(b.day) AS day, unnest(ml.labels(m.prediction, m.classes)) AS late
FROM (
    SELECT array_agg(id) AS id, array_agg(carrier) AS carrier, array_agg(flight) AS flight, array_agg(day) AS day, {batch} AS batch
    FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day >= '2013-12-10') s
    GROUP BY chunk
) b
JOIN models.bench_late__batch m ON m.batch = b.batch

--> shows
SELECT * FROM made
