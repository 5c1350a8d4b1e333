-- The future's flights depart: all that is known of them is what is known at departure. Flights that are
-- there already forget their outcome, so that the story can be told again.

INSERT INTO flights (carrier, flight, tailnum, origin, dest, distance, time_hour, day, departs, arrives, dep_delay)
SELECT carrier, flight, tailnum, origin, dest, distance, time_hour,
       make_date(year, month, day), make_time(hour, minute, 0),
       make_time(sched_arr_time / 100, mod(sched_arr_time, 100), 0),
       dep_delay
FROM staged_flights
WHERE make_date(year, month, day) >= %(cutoff)s
ORDER BY month, day, hour, minute, carrier, flight
ON CONFLICT (day, departs, carrier, flight) DO UPDATE SET arr_delay = NULL;
