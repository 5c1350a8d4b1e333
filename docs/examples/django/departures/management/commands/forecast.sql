-- Predicts all upcoming departures, and keeps what is new. Run again, it writes what has changed: other
-- features, or another version of the model. Two jobs at once lock rows in the same order.

INSERT INTO departures_forecast (departure_id, late, risk, version, made_at)
SELECT id, PREDICT(late_arrival VERSION {version}), PROBABILITY(late_arrival FOR 'yes' VERSION {version}),
       {version}, now()
FROM departures
WHERE day >= %(today)s
ORDER BY id
ON CONFLICT (departure_id) DO UPDATE
SET late = excluded.late, risk = excluded.risk, version = excluded.version, made_at = excluded.made_at
WHERE (departures_forecast.risk, departures_forecast.version) <> (excluded.risk, excluded.version)
