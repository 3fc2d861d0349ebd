// A real Better Auth for the tests of this folder, as a frontend would configure it: email and password, the plugins
// jwt and bearer, and people who may delete themselves.
//
// The environment: DATABASE_URL; BETTER_AUTH_SECRET; PORT on 127.0.0.1, 0 or none for any; OPTIONS, a JSON object of
// Better Auth's own options to add, where `jwt` is the options of that plugin. It migrates the database, prints
// {"addr": "127.0.0.1:…"} when it answers, and ends on SIGTERM or when its standard input does, so that it cannot
// outlive whoever started it.
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
  rateLimit: { enabled: false }, // everybody here comes from one address
  telemetry: { enabled: false },
  ...options,
};
const { runMigrations } = await getMigrations(config);
await runMigrations();
server.on("request", toNodeHandler(betterAuth(config)));
console.log(JSON.stringify({ addr }));
