-- one flight by its key

--> with PREDICT
SELECT id, flight, PREDICT(bench_late) AS late, PROBABILITY(bench_late FOR 'yes') AS risk FROM departures WHERE id = 300000

--> by hand
SELECT d.id, d.flight, m.prediction AS late, m.probability_yes AS risk
FROM (SELECT id, flight, ml.features(d) AS features FROM departures d WHERE id = 300000 OFFSET 0) d
JOIN models.bench_late m USING (features)
