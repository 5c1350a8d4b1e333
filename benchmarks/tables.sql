-- A table of ten numbers, and one of five numbers and five texts of 4 to 40 different values.
-- Filled in by psycopg; setseed makes every run the same.

CREATE SCHEMA IF NOT EXISTS bench;
SELECT setseed(0.42);

CREATE TABLE bench.numbers AS
SELECT id, x0, x1, x2, x3, x4, x5, x6, x7, x8, x9,
       3 * x0 - 2 * x1 + x2 * x3 + 0.5 * x4 + random() AS y
FROM (SELECT id, random() AS x0, random() AS x1, random() AS x2, random() AS x3, random() AS x4,
             random() AS x5, random() AS x6, random() AS x7, random() AS x8, random() AS x9
      FROM generate_series(1, %(rows)s::bigint) AS id) s;
ALTER TABLE bench.numbers ADD PRIMARY KEY (id);

CREATE TABLE bench.mixed AS
SELECT id, x0, x1, x2, x3, x4,
       'red-' || floor(x0 * 4) AS c0, 'city ' || floor(x5 * 10) AS c1, 'plan ' || floor(x6 * 20) AS c2,
       'shop ' || floor(x7 * 30) AS c3, 'item ' || floor(x8 * 40) AS c4,
       3 * x0 - 2 * x1 + x5 + random() AS y
FROM bench.numbers;
ALTER TABLE bench.mixed ADD PRIMARY KEY (id);

