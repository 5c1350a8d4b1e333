-- a view that predicts, of which one flight is wanted

--> made with PREDICT
CREATE VIEW forecast AS
SELECT id, carrier, day, PREDICT(bench_late) AS late FROM departures

--> with PREDICT
SELECT id, late FROM forecast WHERE id = 300000

--> made by hand
CREATE VIEW forecast AS
SELECT d.id, d.carrier, d.day, p.prediction AS late
FROM departures d
CROSS JOIN LATERAL (
    SELECT m.prediction
    FROM (SELECT ml.features(d) AS features OFFSET 0) f
    JOIN models.bench_late m ON m.features = f.features
) p

--> by hand
SELECT id, late FROM forecast WHERE id = 300000
