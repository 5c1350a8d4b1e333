-- what each prediction stands for: aggregates by group of predictions

--> with PREDICT
SELECT PREDICT(bench_late) AS late, count(*), round(avg(dep_delay), 6) AS left_late, max(distance) AS farthest
FROM departures
WHERE day >= '2013-12-10'
GROUP BY 1
ORDER BY 1

--> by hand
SELECT late, count(*), round(avg(dep_delay), 6) AS left_late, max(distance) AS farthest
FROM (
    SELECT unnest(b.dep_delay) AS dep_delay, unnest(b.distance) AS distance, unnest(ml.labels(m.prediction, m.classes)) AS late
    FROM (
        SELECT array_agg(dep_delay) AS dep_delay, array_agg(distance) AS distance, {batch} AS batch
        FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day >= '2013-12-10') s
        GROUP BY chunk
    ) b
    JOIN models.bench_late__batch m ON m.batch = b.batch
) p
GROUP BY 1
ORDER BY 1
