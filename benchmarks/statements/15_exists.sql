-- EXISTS: the destinations that a flight will reach late

--> with PREDICT
SELECT a.faa, a.name
FROM airports a
WHERE EXISTS (
    SELECT FROM departures d
    WHERE d.dest = a.faa AND d.day = '2013-12-30' AND PREDICT(bench_late) = 'yes'
)
ORDER BY a.faa

--> by hand
SELECT a.faa, a.name
FROM airports a
WHERE EXISTS (
    SELECT FROM (
        SELECT unnest(b.dest) AS dest, unnest(ml.labels(m.prediction, m.classes)) AS late
        FROM (
            SELECT array_agg(dest) AS dest, {batch} AS batch
            FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day = '2013-12-30') s
            GROUP BY chunk
        ) b
        JOIN models.bench_late__batch m ON m.batch = b.batch
    ) p
    WHERE p.dest = a.faa AND p.late = 'yes'
)
ORDER BY a.faa
