-- Predictions made before the outcome is known, kept to be judged by it.

CREATE TABLE IF NOT EXISTS forecasts (
    flight_id bigint PRIMARY KEY REFERENCES flights ON DELETE CASCADE,
    late      text NOT NULL,
    p_late    double precision NOT NULL,
    delay     double precision NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT now()
);
TRUNCATE forecasts;
