-- The outcomes arrive.

UPDATE flights f SET arr_delay = s.arr_delay
FROM staged_flights s
WHERE f.day >= %(cutoff)s
  AND f.day = make_date(s.year, s.month, s.day) AND f.departs = make_time(s.hour, s.minute, 0)
  AND f.carrier = s.carrier AND f.flight = s.flight;
