-- From the staged files to the tables: everything but the future's flights.

INSERT INTO airlines SELECT carrier, name FROM staged_airlines;

INSERT INTO airports SELECT faa, name, lat, lon, alt, zone FROM staged_airports;

-- The registry lacks four Caribbean airports that are flown to: kept as airports of which little is known.
INSERT INTO airports (faa)
SELECT DISTINCT f.dest FROM staged_flights f WHERE NOT EXISTS (SELECT FROM airports a WHERE a.faa = f.dest);

INSERT INTO planes
SELECT tailnum, nullif(year, 0), type, manufacturer, model, engines, nullif(seats, 0), engine FROM staged_planes;

-- Likewise 721 planes that fly without an entry in the registry.
INSERT INTO planes (tailnum)
SELECT DISTINCT f.tailnum FROM staged_flights f
WHERE f.tailnum IS NOT NULL AND NOT EXISTS (SELECT FROM planes p WHERE p.tailnum = f.tailnum);

INSERT INTO weather
SELECT origin, time_hour, temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib
FROM staged_weather;

INSERT INTO flights (carrier, flight, tailnum, origin, dest, distance, time_hour, day, departs, arrives,
                     dep_delay, arr_delay)
SELECT carrier, flight, tailnum, origin, dest, distance, time_hour,
       make_date(year, month, day), make_time(hour, minute, 0),
       make_time(sched_arr_time / 100, mod(sched_arr_time, 100), 0),
       dep_delay, arr_delay
FROM staged_flights
WHERE make_date(year, month, day) < %(cutoff)s
ORDER BY month, day, hour, minute, carrier, flight;
