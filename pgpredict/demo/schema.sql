-- Flights that departed New York City in 2013, normalized. Weather has an hour's row for an airport or
-- none; planes and airports know what the registries knew, so many features are NULL.

CREATE TABLE airlines (
    carrier text PRIMARY KEY CHECK (carrier ~ '^[0-9A-Z]{2}$'),
    name    text NOT NULL
);

CREATE TABLE airports (
    faa  text PRIMARY KEY CHECK (length(faa) = 3),
    name text,
    lat  double precision CHECK (lat BETWEEN -90 AND 90),
    lon  double precision CHECK (lon BETWEEN -180 AND 180),
    alt  integer,
    zone text
);
COMMENT ON COLUMN airports.alt IS 'altitude in feet';

CREATE TABLE planes (
    tailnum      text PRIMARY KEY,
    built        smallint CHECK (built BETWEEN 1903 AND 2013),
    type         text,
    manufacturer text,
    model        text,
    engines      smallint,
    seats        smallint,
    engine       text
);

CREATE TABLE weather (
    origin     text NOT NULL REFERENCES airports,
    time_hour  timestamptz NOT NULL,
    temp       double precision,
    dewp       double precision,
    humid      double precision,
    wind_dir   smallint,
    wind_speed double precision,
    wind_gust  double precision,
    precip     double precision,
    pressure   double precision,
    visib      double precision,
    PRIMARY KEY (origin, time_hour)
);

CREATE TABLE flights (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    carrier   text NOT NULL REFERENCES airlines,
    flight    integer NOT NULL,
    tailnum   text REFERENCES planes,
    origin    text NOT NULL REFERENCES airports,
    dest      text NOT NULL REFERENCES airports,
    distance  integer NOT NULL CHECK (distance > 0),
    time_hour timestamptz NOT NULL,
    day       date NOT NULL,
    weekday   smallint GENERATED ALWAYS AS (extract(isodow FROM day)::smallint) STORED,
    departs   time NOT NULL,
    arrives   time NOT NULL,
    dep_delay integer,
    arr_delay integer,
    UNIQUE (day, departs, carrier, flight)
);
COMMENT ON TABLE flights IS 'no dep_delay: not departed, or cancelled; no arr_delay: not arrived yet';
COMMENT ON COLUMN flights.distance IS 'miles';
COMMENT ON COLUMN flights.time_hour IS 'hour of the scheduled departure, as weather has it';
COMMENT ON COLUMN flights.day IS 'local date of the scheduled departure';
COMMENT ON COLUMN flights.weekday IS '1 is Monday';
COMMENT ON COLUMN flights.departs IS 'scheduled, local time in New York';
COMMENT ON COLUMN flights.arrives IS 'scheduled, local time at the destination';
COMMENT ON COLUMN flights.dep_delay IS 'minutes';
COMMENT ON COLUMN flights.arr_delay IS 'minutes';

CREATE INDEX ON flights (origin, time_hour);
CREATE INDEX ON flights (tailnum);
CREATE INDEX ON flights (carrier);
CREATE INDEX ON flights (dest);
CREATE INDEX ON flights (day) WHERE arr_delay IS NULL;
