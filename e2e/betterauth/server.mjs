// A Better Auth for end-to-end tests, configured as a frontend would: email and password, the plugins jwt and bearer, and
// users who may delete themselves.
//
// Environment: DATABASE_URL; BETTER_AUTH_SECRET; PORT of 127.0.0.1, by default any free one; OPTIONS, a JSON object of
// Better Auth's own options that are added, in which `jwt` holds the options of that plugin. The server migrates the
// database, prints {"addr": "127.0.0.1:…"} when it is ready, and ends on SIGTERM or when its standard input ends, so that
// it does not outlive the process that started it.
import { once } from "node:events";
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { bearer, jwt } from "better-auth/plugins";
import pg from "pg";

const stop = () => process.exit(0);
process.on("SIGTERM", stop);
process.stdin.on("end", stop).resume();

const { DATABASE_URL, BETTER_AUTH_SECRET, PORT = "0", OPTIONS = "{}" } = process.env;
const { jwt: jwtOptions, ...options } = JSON.parse(OPTIONS);

const server = createServer().listen(Number(PORT), "127.0.0.1");
await once(server, "listening");
const addr = `127.0.0.1:${server.address().port}`;

const config = {
  baseURL: `http://${addr}`,
  secret: BETTER_AUTH_SECRET,
  database: new pg.Pool({ connectionString: DATABASE_URL }),
  emailAndPassword: { enabled: true },
  user: { deleteUser: { enabled: true } },
  plugins: [jwt(jwtOptions), bearer()],
  rateLimit: { enabled: false }, // all tests have the same address
  telemetry: { enabled: false },
  ...options,
};
const { runMigrations } = await getMigrations(config);
await runMigrations();
server.on("request", toNodeHandler(betterAuth(config)));
console.log(JSON.stringify({ addr }));
