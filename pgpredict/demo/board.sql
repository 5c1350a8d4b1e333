SELECT to_char(f.day + f.departs, 'Mon DD HH24:MI') AS departs, a.name AS airline, f.flight, origin, f.dest,
       f.dep_delay AS left_late, w.visib,
       PREDICT(late_arrival) AS late, PROBABILITY(late_arrival FOR 'yes') AS probability,
       round(PREDICT(arrival_delay)::numeric) AS minutes
FROM flights f
JOIN airlines a USING (carrier)
JOIN airports d ON d.faa = f.dest
LEFT JOIN weather w USING (origin, time_hour)
LEFT JOIN planes p USING (tailnum)
WHERE f.arr_delay IS NULL AND f.dep_delay < 20 AND f.day >= '2013-12-10'
  AND PROBABILITY(late_arrival FOR 'yes') > 0.5
ORDER BY PROBABILITY(late_arrival FOR 'yes') DESC, f.id
LIMIT 8
