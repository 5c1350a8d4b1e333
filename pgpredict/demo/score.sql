-- How good the forecasts were, now that the outcomes are known. The baselines say "no" to every flight,
-- and "as late as it left".

SELECT count(*) AS flights,
       avg((s.late = o.late)::integer) AS accuracy,
       avg((o.late = 'no')::integer) AS baseline_accuracy,
       count(*) FILTER (WHERE s.late = 'yes' AND o.late = 'yes')::float8 / nullif(count(*) FILTER (WHERE s.late = 'yes'), 0) AS "precision",
       count(*) FILTER (WHERE s.late = 'yes' AND o.late = 'yes')::float8 / nullif(count(*) FILTER (WHERE o.late = 'yes'), 0) AS recall,
       avg(abs(s.delay - f.arr_delay)) AS mae,
       avg(abs(f.dep_delay - f.arr_delay)) AS baseline_mae
FROM forecasts s
JOIN flights f ON f.id = s.flight_id
CROSS JOIN LATERAL (SELECT CASE WHEN f.arr_delay >= 15 THEN 'yes' ELSE 'no' END AS late) o
WHERE f.arr_delay IS NOT NULL
