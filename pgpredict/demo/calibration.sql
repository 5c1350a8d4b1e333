-- Of the flights given a probability in a range, how many were late?

SELECT least(floor(s.p_late * 5) / 5, 0.8) AS from_probability, count(*) AS flights,
       avg(s.p_late) AS predicted, avg((f.arr_delay >= 15)::integer) AS happened
FROM forecasts s JOIN flights f ON f.id = s.flight_id
WHERE f.arr_delay IS NOT NULL
GROUP BY 1 ORDER BY 1
