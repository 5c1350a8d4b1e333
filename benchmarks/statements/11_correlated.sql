-- a correlated subquery: the greatest risk of each airline

--> with PREDICT
SELECT a.name, (
    SELECT max(PROBABILITY(bench_late FOR 'yes')) FROM departures d
    WHERE d.carrier = a.carrier AND d.day >= '2013-12-20'
) AS risk
FROM airlines a
ORDER BY a.name

--> by hand
SELECT a.name, p.risk
FROM airlines a
LEFT JOIN (
    SELECT carrier, max(risk) AS risk
    FROM (
        SELECT unnest(b.carrier) AS carrier, unnest(ml.class_probability(m.probabilities, m.classes, 'yes')) AS risk
        FROM (
            SELECT array_agg(carrier) AS carrier, {batch} AS batch
            FROM (SELECT *, (row_number() OVER () - 1) / 20000 AS chunk FROM departures WHERE day >= '2013-12-20') s
            GROUP BY chunk
        ) b
        JOIN models.bench_late__batch m ON m.batch = b.batch
    ) each
    GROUP BY carrier
) p USING (carrier)
ORDER BY a.name
