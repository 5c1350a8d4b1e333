-- LATERAL: of each airline, the five flights that left latest, predicted

--> with PREDICT
SELECT a.name, t.id, t.dep_delay, t.minutes
FROM airlines a
CROSS JOIN LATERAL (
    SELECT d.id, d.dep_delay, PREDICT(bench_arrival) AS minutes FROM departures d
    WHERE d.carrier = a.carrier AND d.day >= '2013-12-30'
    ORDER BY d.dep_delay DESC, d.id
    LIMIT 5
) t
ORDER BY a.name, t.id

--> by hand
SELECT a.name, p.id, p.dep_delay, p.minutes
FROM airlines a
JOIN (
    SELECT unnest(b.id) AS id, unnest(b.carrier) AS carrier, unnest(b.dep_delay) AS dep_delay,
           unnest(ml.float8s(m.prediction)) AS minutes
    FROM (
        SELECT array_agg(id) AS id, array_agg(carrier) AS carrier, array_agg(dep_delay) AS dep_delay,
               {batch} AS batch
        FROM (
            SELECT d.*
            FROM airlines a
            CROSS JOIN LATERAL (
                SELECT * FROM departures d
                WHERE d.carrier = a.carrier AND d.day >= '2013-12-30'
                ORDER BY d.dep_delay DESC, d.id
                LIMIT 5
            ) d
        ) s
    ) b
    JOIN models.bench_arrival__batch m ON m.batch = b.batch
) p USING (carrier)
ORDER BY a.name, p.id
