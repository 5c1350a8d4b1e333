-- the flights that are most likely to be late, of those that left in time: filter, order, limit

--> with PREDICT
SELECT to_char(f.day + f.departs, 'Mon DD HH24:MI') AS departs, a.name AS airline, f.flight, f.dest, f.id,
       PROBABILITY(bench_late FOR 'yes') AS probability
FROM departures f
JOIN airlines a USING (carrier)
WHERE f.dep_delay < 20 AND f.day >= '2013-12-10' AND PROBABILITY(bench_late FOR 'yes') > 0.3
ORDER BY PROBABILITY(bench_late FOR 'yes') DESC, f.id
LIMIT 10

--> by hand
SELECT to_char(p.day + p.departs, 'Mon DD HH24:MI') AS departs, a.name AS airline, p.flight, p.dest, p.id,
       p.probability
FROM (
    SELECT unnest(b.id) AS id, unnest(b.carrier) AS carrier, unnest(b.day) AS day, unnest(b.departs) AS departs,
           unnest(b.flight) AS flight, unnest(b.dest) AS dest,
           unnest(ml.class_probability(m.probabilities, m.classes, 'yes')) AS probability
    FROM (
        SELECT array_agg(id) AS id, array_agg(carrier) AS carrier, array_agg(day) AS day,
               array_agg(departs) AS departs, array_agg(flight) AS flight, array_agg(dest) AS dest,
               {batch} AS batch
        FROM (
            SELECT *, (row_number() OVER () - 1) / 20000 AS chunk
            FROM departures WHERE dep_delay < 20 AND day >= '2013-12-10'
        ) s
        GROUP BY chunk
    ) b
    JOIN models.bench_late__batch m ON m.batch = b.batch
) p
JOIN airlines a USING (carrier)
WHERE p.probability > 0.3
ORDER BY p.probability DESC, p.id
LIMIT 10
