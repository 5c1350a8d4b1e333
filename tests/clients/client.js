// What node-postgres sees at a server, told as JSON; see EXPECTED in tests/fix_clients.py.
'use strict'
const { Client, Query } = require('pg')

const predict = 'SELECT PREDICT(weight USING $1::float8 AS a) AS p'

async function failure (promise) {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('this should have failed')
}

async function canceled () {
  const client = new Client()
  await client.connect()
  const query = new Query("SELECT pg_sleep(30), 'PREDICT'")
  const ended = new Promise((resolve) => query.once('error', resolve))
  client.query(query)
  // a request to cancel one that has not begun is for nothing
  const watching = new Client()
  await watching.connect()
  const sleeps = "SELECT FROM pg_stat_activity WHERE usename = current_user AND wait_event = 'PgSleep'"
  while ((await watching.query(sleeps)).rowCount === 0) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await watching.end()
  new Client().cancel(client, query)
  const { code } = await ended
  await client.end()
  return code
}

async function main () {
  const seen = {}
  const client = new Client()
  await client.connect()
  const only = async (query, values) => {
    const result = await client.query(typeof query === 'string' ? { text: query, values, rowMode: 'array' } : { ...query, rowMode: 'array' })
    return result.rows[0][0]
  }
  await client.query('CREATE TABLE plain (id int, name text, value float8)')
  await client.query('INSERT INTO plain VALUES ($1, $2, $3), ($4, $5, $6)', [1, 'one', null, 2, 'zwei €', 2.5])
  seen.plain = (await client.query({ text: 'SELECT * FROM plain ORDER BY id', rowMode: 'array' })).rows
  seen.predict = await only(predict, [2])
  // as objects: it reads rows as arrays wrongly if they are binary
  const binary = await client.query({ text: predict, values: [2], binary: true })
  if (binary.rows[0].p !== seen.predict) throw new Error('binary result')
  const two = Buffer.alloc(8)
  two.writeDoubleBE(2)
  if (await only(predict, [two]) !== seen.predict) throw new Error('binary parameter')
  seen.null = String(await only(predict, [null]))
  seen.array = await only('SELECT array_agg(PREDICT(weight USING x AS a ON MISSING NULL) ORDER BY n) FROM unnest($1::float8[]) WITH ORDINALITY AS t(x, n)', [[1, null, 3]])
  seen.prepared = []
  for (let number = 0; number < 50; number++) {
    seen.prepared.push(await only({ name: 'predict', text: predict, values: [number] }))
  }
  const large = await client.query('SELECT PREDICT(weight USING i::float8 AS a) AS p FROM generate_series(1, 100000) AS t(i)')
  seen.large = [large.rowCount, large.rows.reduce((sum, row) => sum + row.p, 0)]
  const wide = await client.query("SELECT repeat('x', 1000) AS x FROM generate_series(1, 20000)")
  seen.wide = wide.rows.reduce((sum, row) => sum + row.x.length, 0)
  const error = await failure(client.query('SELECT PREDICT(weihgt USING $1::float8 AS a)', [1]))
  seen.error = [error.code, Number(error.position), error.hint]
  await client.query('BEGIN')
  await client.query('DELETE FROM plain')
  await client.query('SAVEPOINT s')
  await failure(client.query('SELECT PREDICT(weight USING nothing)'))
  seen.failed = (await failure(client.query(predict, [1]))).code
  await client.query('ROLLBACK TO SAVEPOINT s')
  await client.query('INSERT INTO plain SELECT 3, NULL, PREDICT(weight USING 1.0::float8 AS a)')
  await client.query('ROLLBACK')
  seen.rolled_back = await only('SELECT count(*)::int FROM plain WHERE id = 3')
  seen.after = await only(predict, [2])
  seen.canceled = await canceled()
  const notified = new Promise((resolve) => client.once('notification', resolve))
  await client.query('LISTEN channel')
  await client.query("NOTIFY channel, 'hello'")
  const { channel, payload } = await notified
  seen.notified = [channel, payload]
  await client.end()
  console.log(JSON.stringify(seen))
}

main()
