INSERT INTO forecasts (flight_id, late, p_late, delay)
SELECT f.id, PREDICT(late_arrival), PROBABILITY(late_arrival FOR 'yes'), PREDICT(arrival_delay)
FROM flights f
JOIN airports d ON d.faa = f.dest
LEFT JOIN weather w USING (origin, time_hour)
LEFT JOIN planes p USING (tailnum)
WHERE f.arr_delay IS NULL AND f.dep_delay IS NOT NULL AND f.day >= '2013-12-10'
