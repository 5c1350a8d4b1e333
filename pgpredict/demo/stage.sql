-- The files as they are: one temporary table each, gone at the end of the transaction.

CREATE TEMPORARY TABLE staged_airlines (carrier text, name text) ON COMMIT DROP;

CREATE TEMPORARY TABLE staged_airports (
    faa text, name text, lat double precision, lon double precision, alt integer, tz numeric, dst text, zone text
) ON COMMIT DROP;

CREATE TEMPORARY TABLE staged_planes (
    tailnum text, year smallint, type text, manufacturer text, model text, engines smallint, seats smallint,
    speed integer, engine text
) ON COMMIT DROP;

CREATE TEMPORARY TABLE staged_weather (
    origin text, year integer, month integer, day integer, hour integer,
    temp double precision, dewp double precision, humid double precision, wind_dir smallint,
    wind_speed double precision, wind_gust double precision, precip double precision,
    pressure double precision, visib double precision, time_hour timestamptz
) ON COMMIT DROP;

CREATE TEMPORARY TABLE staged_flights (
    year integer, month integer, day integer, dep_time integer, sched_dep_time integer, dep_delay integer,
    arr_time integer, sched_arr_time integer, arr_delay integer, carrier text, flight integer, tailnum text,
    origin text, dest text, air_time integer, distance integer, hour integer, minute integer,
    time_hour timestamptz
) ON COMMIT DROP;
