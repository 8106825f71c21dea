// Carries out, by mysql2, what tests/clients/conversation.py asks for; `query` or `execute` sends it.
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import mysql from "mysql2/promise";

const verb = process.argv[2];
const options = {
  host: process.env.DB_HOST,
  port: Number(process.env.DB_PORT),
  user: process.env.DB_USER,
  password: process.env.DB_PASSWORD,
  database: process.env.DB_SCHEMA,
  supportBigNumbers: true,
  dateStrings: true,
};
let connection;
let pool;

async function connect() {
  connection?.destroy();
  connection = await mysql.createConnection(options);
  connection.on("error", () => {}); // the next request tells that it was lost
  return { done: true };
}

const value = (each) => (each?.base64 === undefined ? each : Buffer.from(each.base64, "base64"));
const send = (sql, parameters) => connection[verb](sql, parameters.map(value));
const text = (cell) => (cell === null ? null : Buffer.isBuffer(cell) ? cell.toString("utf8") : String(cell));

async function execute({ sql, parameters }) {
  const [result] = await send(sql, parameters);
  return { affected: result.affectedRows, id: result.insertId, info: result.info, warnings: result.warningStatus };
}

async function query({ sql, parameters }) {
  const [rows] = await send(sql, parameters);
  return { rows: rows.map((row) => Object.values(row).map(text)) };
}

// One large cell, told by its length and its hash.
async function digest({ sql, parameters }) {
  const [[row]] = await send(sql, parameters);
  const data = Buffer.from(Object.values(row)[0]);
  return { bytes: data.length, sha256: createHash("sha256").update(data).digest("hex") };
}

// Rows are changed in a local transaction on whatever connection the pool gives.
async function pooled({ sql, parameters }) {
  pool ??= mysql.createPool({ ...options, connectionLimit: 1 });
  const given = await pool.getConnection();
  try {
    await given.beginTransaction();
    const [result] = await given[verb](sql, parameters.map(value));
    await given.commit();
    return { affected: result.affectedRows };
  } finally {
    given.release();
  }
}

// One statement many times, all sent at once: the driver queues them.
async function batch({ sql, rows }) {
  const results = await Promise.all(rows.map((row) => send(sql, row)));
  return { affected: results.map(([result]) => result.affectedRows) };
}

const ended = (work) => async () => (await work(), { done: true });
const requests = {
  connect,
  execute,
  query,
  digest,
  pooled,
  batch,
  begin: ended(() => connection.beginTransaction()),
  commit: ended(() => connection.commit()),
  rollback: ended(() => connection.rollback()),
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let answer;
  try {
    answer = await requests[asked.do](asked);
  } catch (error) {
    answer = { error: { code: error.errno ?? 0, state: error.sqlState ?? "", message: error.message } };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
connection?.destroy();
await pool?.end();
