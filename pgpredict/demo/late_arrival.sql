SELECT f.day, carrier, origin, f.dest, f.distance, f.weekday, f.departs, f.arrives, f.dep_delay,
       w.temp, w.dewp, w.humid, w.wind_dir, w.wind_speed, w.wind_gust, w.precip, w.pressure, w.visib,
       p.built, p.manufacturer, p.engines, p.seats, d.lat, d.lon, d.alt,
       CASE WHEN f.arr_delay >= 15 THEN 'yes' ELSE 'no' END AS late
FROM flights f
JOIN airports d ON d.faa = f.dest
LEFT JOIN weather w USING (origin, time_hour)
LEFT JOIN planes p USING (tailnum)
WHERE f.arr_delay IS NOT NULL AND f.day < '2013-12-10'
