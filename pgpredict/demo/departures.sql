-- What is known of a flight at its departure, from four tables; NULL where it is not known.

CREATE OR REPLACE VIEW departures AS
SELECT f.id, carrier, f.flight, origin, f.dest, f.distance, f.day, f.weekday, f.departs, f.arrives, f.dep_delay, f.arr_delay,
       w.temp, w.dewp, w.humid, w.wind_dir, w.wind_speed, w.wind_gust, w.precip, w.pressure, w.visib,
       p.built, p.manufacturer, p.engines, p.seats, d.lat, d.lon, d.alt
FROM flights f
JOIN airports d ON d.faa = f.dest
LEFT JOIN weather w USING (origin, time_hour)
LEFT JOIN planes p USING (tailnum)
WHERE f.dep_delay IS NOT NULL;
COMMENT ON VIEW departures IS 'what is known of a flight at its departure';
