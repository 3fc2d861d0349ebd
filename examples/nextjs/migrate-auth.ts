import { getMigrations } from "better-auth/db/migration";
import { auth } from "./lib/auth";

async function migrate() {
  const { runMigrations } = await getMigrations(auth.options);
  await runMigrations();
  console.log("The tables of Better Auth are up to date.");
  process.exit();
}

void migrate();
