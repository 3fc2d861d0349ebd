import { build } from "esbuild";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { docketURL, Person } from "./support/service.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));

/** A project of a user, with the packed client installed. */
let project: string;
let packed: { filename: string; files: { path: string }[] };

before(async () => {
  project = await mkdtemp(join(tmpdir(), "docket-client-"));
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", project];
  [packed] = JSON.parse((await run("npm", pack, { cwd: root })).stdout) as [typeof packed];
  await writeFile(join(project, "package.json"), '{ "name": "frontend", "private": true, "type": "module" }');
  const quietly = ["--prefer-offline", "--no-audit", "--no-fund"];
  await run("npm", ["install", "--prefix", project, ...quietly, `./${packed.filename}`], { cwd: project });
});

after(() => rm(project, { recursive: true }));

test("the package contains the built modules, the README and the licence", async () => {
  const modules = (await readdir(join(root, "src"))).map((file) => file.replace(/\.ts$/, ""));
  const built = ["dist", "dist/cjs"].flatMap((folder) =>
    modules.flatMap((name) => [`${folder}/${name}.d.ts`, `${folder}/${name}.js`]),
  );
  const want = [...built, "dist/cjs/package.json", "LICENSE", "README.md", "package.json"];
  assert.deepEqual(packed.files.map(({ path }) => path).sort(), want.sort());
  assert.equal(await readFile(join(root, "LICENSE"), "utf8"), await readFile(join(root, "../../LICENSE"), "utf8"));
});

test("openapi-fetch is the only dependency", async () => {
  const lock = JSON.parse(await readFile(join(project, "package-lock.json"), "utf8")) as { packages: object };
  assert.deepEqual(Object.keys(lock.packages), [
    "",
    "node_modules/@docket/client",
    "node_modules/openapi-fetch",
    "node_modules/openapi-typescript-helpers",
  ]);
});

test("the example in the README has ten lines and lists the tasks of a signed-in user", async () => {
  const ada = await Person.signUp();
  await ada.client().tasks.create({ title: "Buy oat milk" });
  await ada.client().tasks.create({ title: "Done", completed: true });
  const program = (await examples()).get("list.mjs") ?? "";
  assert.ok(program.split("\n").filter((line) => line !== "").length <= 10);
  await writeFile(join(project, "list.mjs"), program);
  const env = { ...process.env, BETTER_AUTH_SESSION: ada.session };
  const { stdout } = await run(process.execPath, ["list.mjs"], { cwd: project, env });
  assert.equal(stdout, "Buy oat milk\n");
});

test("a bundler omits modules that a page does not use", async () => {
  const kept = async (code: string) => {
    const { metafile } = await build({
      stdin: { contents: code, resolveDir: project },
      bundle: true,
      format: "esm",
      metafile: true,
      write: false,
    });
    const inputs = Object.entries(Object.values(metafile.outputs)[0]?.inputs ?? {});
    return inputs.flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 && path !== "<stdin>" ? [basename(path)] : []));
  };
  assert.deepEqual(await kept('import "@docket/client";'), []);
  const errors = 'import { isDocketProblem } from "@docket/client"; console.log(isDocketProblem(null));';
  assert.deepEqual((await kept(errors)).sort(), ["errors.js", "retry-after.js"]);
  const days = 'import { startOfDay, today } from "@docket/client"; console.log(startOfDay(today()));';
  assert.deepEqual(await kept(days), ["days.js"]);
});

// A file of a frontend, with the values and types that the checks of a compiler depend on.
const frontend = `
import { createDocketClient, DocketProblem, translate, type Docket, type Task } from "@docket/client";

const docket: Docket = createDocketClient({ baseUrl: process.env.DOCKET_URL ?? "", getToken: () => "" });

export async function edit(task: Task, title: string, description?: string): Promise<Task> {
  const draft = { title, priority: "high" };
  await docket.tasks.create({ ...draft, description });
  const { data } = await docket.tasks.list({ priority: "high", search: description });
  return (await docket.tasks.update(task.id, { ...(data.tasks[0] ?? task), title })).data;
}

docket.tasks.get("any").catch((error: unknown) => {
  console.log(error instanceof DocketProblem ? translate(error, { unauthorized: "Who are you?" }) : error);
});`;

/** The settings of TypeScript projects: of a bundler, and of modules and CommonJS in Node.js. */
const settings: Record<string, { type: "module" | "commonjs"; module: string; moduleResolution: string }> = {
  bundler: { type: "module", module: "esnext", moduleResolution: "bundler" },
  nodenext: { type: "module", module: "nodenext", moduleResolution: "nodenext" },
  "nodenext in CommonJS": { type: "commonjs", module: "nodenext", moduleResolution: "nodenext" },
  "node16 in CommonJS": { type: "commonjs", module: "node16", moduleResolution: "node16" },
  "node10 in CommonJS": { type: "commonjs", module: "commonjs", moduleResolution: "node10" },
};

for (const [name, { type, ...options }] of Object.entries(settings)) {
  // fault G11
  test(`the client compiles strictly, with its declarations, and runs with ${name}`, async () => {
    const folder = join(project, name.replaceAll(" ", "-"));
    await mkdir(folder);
    await writeFile(join(folder, "package.json"), JSON.stringify({ type }));
    for (const [file, text] of [...(await examples()), ["frontend.ts", frontend] as const]) {
      if (file.endsWith(".ts") && !file.includes("/")) {
        await writeFile(join(folder, file), text);
      }
    }
    await writeFile(join(folder, "process.d.ts"), "declare const process: { env: Record<string, string | undefined> };");
    await compile(folder, { ...options, skipLibCheck: false });
    if (name !== "bundler") {
      const { stdout } = await run(process.execPath, ["frontend.js"], { cwd: folder, env: { ...process.env, DOCKET_URL: docketURL } });
      assert.match(stdout, /getToken did not return a JWT/);
    }
  });
}

// Prints the status of the last response to standard error.
const lastStatus = `
const { fetch } = globalThis;
let status;
globalThis.fetch = async (request) => {
  const response = await fetch(request);
  status = response.status;
  return response;
};
process.on("exit", () => console.error(status));`;

test("the TypeScript of docs/api.md compiles strictly and receives the documented status", async () => {
  const ada = await Person.signUp();
  const task = await ada.client().tasks.create({ title: "Prepare the quarterly report" });
  const replacements: [string, string][] = [
    ["http://127.0.0.1:8000", docketURL],
    ["8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60", task.data.id],
    ["…", await ada.token()],
  ];
  const page = await readFile(join(root, "../../docs/api.md"), "utf8");
  const blocks = [...page.matchAll(/^```ts (\S+)\n(.*?)^```$/gms)].map(([, status = "", code = ""]) => ({ status, code }));
  const setup = blocks.shift();
  assert.equal(setup?.status, "setup");
  assert.ok(blocks.length >= 8, `only ${blocks.length} examples were found`);

  const folder = join(project, "docs");
  await mkdir(folder);
  await writeFile(join(folder, "last-status.mjs"), lastStatus);
  for (const [number, { code }] of blocks.entries()) {
    const text = replacements.reduce((text, [from, to]) => text.replaceAll(from, to), setup.code + code);
    await writeFile(join(folder, `${number}.ts`), text);
  }
  await compile(folder, { module: "nodenext", moduleResolution: "nodenext" });
  for (const [number, { status, code }] of blocks.entries()) {
    const { stderr } = await run(process.execPath, ["--import", "./last-status.mjs", `${number}.js`], { cwd: folder });
    assert.equal(stderr, `${status}\n`, code);
  }
});

/** Compiles a folder with the strictest options that a project of a user may have. */
async function compile(folder: string, options: object): Promise<void> {
  const lib = ["es2022", "dom", "dom.iterable"];
  const compilerOptions = { strict: true, exactOptionalPropertyTypes: true, target: "es2022", lib, types: [], ...options };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["."] }));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const compiled = run(process.execPath, [tsc, "--project", folder]);
  const { stdout } = await compiled.catch((error: { stdout: string }) => error);
  assert.equal(stdout, "");
}

/** Returns the code blocks of the README that have a file name. */
async function examples(): Promise<Map<string, string>> {
  const readme = await readFile(join(root, "README.md"), "utf8");
  return new Map([...readme.matchAll(/^```\w+ (\S+)\n(.*?)^```$/gms)].map(([, name = "", text = ""]) => [name, text]));
}
