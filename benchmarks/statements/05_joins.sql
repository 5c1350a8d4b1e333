-- a join of five tables that predicts, with columns of all of them

--> with PREDICT
SELECT f.id, a.name AS airline, d.name AS destination, w.visib AS visibility, p.seats,
       PREDICT(bench_arrival) AS minutes
FROM flights f
JOIN airlines a USING (carrier)
JOIN airports d ON d.faa = f.dest
LEFT JOIN weather w USING (origin, time_hour)
LEFT JOIN planes p USING (tailnum)
WHERE f.dep_delay IS NOT NULL AND f.day >= '2013-12-10'

--> by hand
SELECT unnest(b.id) AS id, unnest(b.airline) AS airline, unnest(b.destination) AS destination,
       unnest(b.visib) AS visibility, unnest(b.seats) AS seats, unnest(ml.float8s(m.prediction)) AS minutes
FROM (
    SELECT array_agg(id) AS id, array_agg(airline) AS airline, array_agg(destination) AS destination,
           array_agg(visib) AS visib, array_agg(seats) AS seats, {batch} AS batch
    FROM (
        SELECT f.*, a.name AS airline, d.name AS destination, d.lat, d.lon, d.alt, w.temp, w.dewp, w.humid,
               w.wind_dir, w.wind_speed, w.wind_gust, w.precip, w.pressure, w.visib,
               p.built, p.manufacturer, p.engines, p.seats, (row_number() OVER () - 1) / 20000 AS chunk
        FROM flights f
        JOIN airlines a ON a.carrier = f.carrier
        JOIN airports d ON d.faa = f.dest
        LEFT JOIN weather w ON w.origin = f.origin AND w.time_hour = f.time_hour
        LEFT JOIN planes p ON p.tailnum = f.tailnum
        WHERE f.dep_delay IS NOT NULL AND f.day >= '2013-12-10'
    ) s
    GROUP BY chunk
) b
JOIN models.bench_arrival__batch m ON m.batch = b.batch
