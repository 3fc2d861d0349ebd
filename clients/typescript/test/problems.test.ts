import {
  DocketProblem,
  isDocketProblem,
  problemCodes,
  translate,
  type Docket,
  type KnownProblemCode,
} from "@docket/client";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Proxy, type FakeResponse } from "./support/proxy.js";
import { Person } from "./support/service.js";

/** A call that the service refuses. `id` is the id of a task. */
type Mistake = (client: Docket, owner: string, id: string) => Promise<unknown>;

/** Creates a task with the raw client and a request that the types of `tasks` do not allow. */
function raw(init: RequestInit): Mistake {
  return ({ raw }, owner) => {
    const result = raw.POST("/api/{user_id}/tasks", {
      params: { path: { user_id: owner } },
      body: { title: "Milk" },
      bodySerializer: () => init.body ?? "",
      headers: { ...(init.headers as Record<string, string>) },
    });
    return result.then(({ error, response }) => Promise.reject(new DocketProblem(response, error, false)));
  };
}

/** Sends a request that is not in the document. */
function undocumented(method: "delete" | "patch", path: string): Mistake {
  return ({ raw }, user_id, task_id) => {
    const result = raw.request(method as "get", path as "/health", { params: { path: { user_id, task_id } }, body: {} } as never);
    return result.then(({ error, response }) => Promise.reject(new DocketProblem(response, error, false)));
  };
}

const unusedID = "00000000-0000-4000-8000-000000000000";

const mistakes: Record<string, [number, KnownProblemCode, Mistake]> = {
  "two filters that contradict each other": [
    400,
    "invalid_parameter",
    ({ tasks }) => tasks.list({ status: "pending", completed: true }),
  ],
  "a filter that does not exist": [400, "invalid_parameter", ({ tasks }) => tasks.list({ statu: "pending" } as object)],
  "a broken cursor": [400, "invalid_parameter", ({ tasks }) => tasks.list({ cursor: "no_cursor" })],
  "an update of nothing": [400, "no_changes", ({ tasks }, _, id) => tasks.update(id, {})],
  "a body that is not JSON": [400, "malformed_json", raw({ body: '{"title":' })],
  "a body that the operation does not take": [
    400,
    "unexpected_body",
    undocumented("delete", "/api/{user_id}/tasks/{task_id}"),
  ],
  "the tasks of another owner": [403, "user_mismatch", ({ tasks }) => tasks.list({}, { userId: "somebody-else" })],
  "a task that does not exist": [404, "task_not_found", ({ tasks }) => tasks.get(unusedID)],
  "an id that is not a UUID": [404, "task_not_found", ({ tasks }) => tasks.get("no/id?")],
  "an update of a task that does not exist": [404, "task_not_found", ({ tasks }) => tasks.update(unusedID, { title: "Milk" })],
  "a deletion of a task that does not exist": [404, "task_not_found", ({ tasks }) => tasks.delete(unusedID)],
  "a path that does not exist": [404, "route_not_found", undocumented("patch", "/api/{user_id}/task")],
  "a method that the path does not support": [
    405,
    "method_not_allowed",
    undocumented("patch", "/api/{user_id}/tasks"),
  ],
  "an Accept header without JSON": [406, "not_acceptable", raw({ body: "{}", headers: { Accept: "text/html" } })],
  "a stale tag": [
    412,
    "precondition_failed",
    ({ tasks }, _, id) => tasks.update(id, { title: "Mine" }, { ifMatch: '"1.0"' }),
  ],
  "a body that is too large": [
    413,
    "payload_too_large",
    ({ tasks }) => tasks.create({ title: "Milk", description: "x".repeat(70_000) }),
  ],
  "a body with a media type other than JSON": [
    415,
    "unsupported_media_type",
    raw({ body: "{}", headers: { "Content-Type": "text/plain" } }),
  ],
  "a title of white space": [422, "validation_failed", ({ tasks }) => tasks.create({ title: " " })],
  "headers that are too large": [
    431,
    "header_fields_too_large",
    raw({ body: "{}", headers: { "X-Requested-With": "x".repeat(15_000), "X-More": "x".repeat(2_000) } }),
  ],
  // The database of these tests fails with the SQLSTATE in the title of a task.
  "an error of the database": [500, "internal_error", ({ tasks }) => tasks.create({ title: "fail XX000" })],
  "a database without free space": [503, "unavailable", ({ tasks }) => tasks.create({ title: "fail 53000" })],
  "a database that is shut down": [503, "outcome_unknown", ({ tasks }) => tasks.create({ title: "fail 57P01" })],
};

for (const [name, [status, code, mistake]] of Object.entries(mistakes)) {
  test(`${name} is ${status} ${code}`, async () => {
    const ada = await Person.signUp();
    const client = ada.client({ retry: { attempts: 1 } });
    const { data } = await client.tasks.create({ title: "Report" });
    const problem = await caught(mistake(client, ada.id, data.id));
    assert.equal(problem.status, status);
    assert.equal(problem.code, code);
    assert.equal(problem.type, `/problems/${code}`);
    assert.equal(problem.message, problem.detail);
    assert.notEqual(problem.title, "");
    assert.match(problem.requestId ?? "", /^[\w.-]+$/);
    assert.equal(problem.document["instance"], `/requests/${problem.requestId}`);
    assert.equal(problem.outcomeUnknown, code === "outcome_unknown" || status === 500);
  });
}

test("all faults of a request are reported with their locations", async () => {
  const { tasks } = (await Person.signUp()).client();
  const task = { title: " ", priority: "urgent", colour: "red" } as never;
  const { errors } = await caught(tasks.create(task));
  assert.deepEqual(errors.map(({ pointer }) => pointer).sort(), ["#/colour", "#/priority", "#/title"]);
  const parameters = await caught(tasks.list({ limit: 0 }));
  assert.deepEqual(parameters.errors.map(({ parameter }) => parameter), ["limit"]);
});

// fault G6
test("faults and problems are translated by their codes, with their numbers", async () => {
  const { tasks } = (await Person.signUp()).client();
  const texts = {
    blank: "Bitte ausfüllen.",
    too_long: "Bitte höchstens {max} Zeichen.",
    not_one_of: "Bitte eins von: {allowed}.",
    task_not_found: "Diese Aufgabe gibt es nicht mehr.",
  };
  const task = { title: " ", description: "x".repeat(1001), priority: "urgent" as string, colour: "red" };
  const { errors } = await caught(tasks.create(task));
  const translated = new Map(errors.map((fault) => [fault.pointer, translate(fault, texts)]));
  assert.equal(translated.get("#/title"), "Bitte ausfüllen.");
  assert.equal(translated.get("#/description"), "Bitte höchstens 1000 Zeichen.");
  assert.equal(translated.get("#/priority"), "Bitte eins von: low, medium, high.");
  const unknown = errors.find(({ pointer }) => pointer === "#/colour");
  assert.equal(translated.get("#/colour"), unknown?.detail);

  const problem = await caught(tasks.get(unusedID));
  assert.equal(translate(problem, texts), "Diese Aufgabe gibt es nicht mehr.");
  assert.equal(translate(problem, {}), problem.detail);
  assert.equal(translate({ code: "toString", detail: "Short." }, {}), "Short.");
});

// Its path would be that of the list, with a slash at the end.
test("an empty id is refused", async () => {
  const { tasks } = (await Person.signUp()).client();
  for (const call of [() => tasks.get(""), () => tasks.update("", { title: "Milk" }), () => tasks.delete("")]) {
    await assert.rejects(call, TypeError);
  }
});

test("problems are distinguished by their code", async () => {
  const { tasks } = (await Person.signUp()).client();
  const problem = await caught(tasks.get(unusedID));
  assert.equal(problem.is("task_not_found"), true);
  assert.equal(problem.is("token_expired", "task_not_found"), true);
  assert.equal(problem.is("token_expired"), false);
  assert.equal(isDocketProblem(problem), true);
  assert.equal(isDocketProblem(new Error("task_not_found"), "task_not_found"), false);
});

test("the known codes are those that docs/api.md lists", async () => {
  const page = await readFile(new URL("../../../docs/api.md", import.meta.url), "utf8");
  const listed = [...page.matchAll(/^\| \d{3} \| `(\w+)` \|/gm)].map(([, code]) => code);
  assert.deepEqual([...problemCodes].sort(), listed.sort());
});

const unusual: Record<string, [FakeResponse, Partial<DocketProblem>]> = {
  "an unknown code": [
    { status: 418, headers: { "Content-Type": "application/json" }, body: '{"code":"teapot","detail":"Short."}' },
    { code: "teapot", detail: "Short.", type: "about:blank", errors: [] },
  ],
  "a trace": [
    { status: 404, headers: { "Content-Type": "application/json" }, body: '{"code":"gone","detail":"Gone.","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}' },
    { code: "gone", traceId: "4bf92f3577b34da6a3ce929d0e0e4736" },
  ],
  "an HTML page of a gateway": [
    { status: 400, headers: { "Content-Type": "text/html" }, body: "<h1>Bad</h1>" },
    { code: "unexpected_response", detail: "The response has the status 400 and no problem document.", requestId: undefined },
  ],
  "no body": [{ status: 500 }, { code: "unexpected_response", title: "HTTP status 500" }],
  "members of the wrong type": [
    { status: 409, headers: { "Content-Type": "application/json" }, body: '{"code":7,"errors":[1,{"detail":"x"},{"code":"y","detail":"z"}]}' },
    { code: "unexpected_response", errors: [{ code: "y", detail: "z" }] },
  ],
  "JSON that is not an object": [
    { status: 404, headers: { "Content-Type": "application/json", "X-Request-Id": "abc" }, body: "[]" },
    { code: "unexpected_response", requestId: "abc", traceId: undefined },
  ],
};

for (const [name, [response, want]] of Object.entries(unusual)) {
  test(`an error response with ${name} is a problem`, async (t) => {
    const proxy = await Proxy.start(t);
    const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.next(response).url });
    const problem = await caught(tasks.get(unusedID));
    assert.equal(problem.status, response.status);
    for (const [member, value] of Object.entries(want)) {
      assert.deepEqual(problem[member as keyof DocketProblem], value, member);
    }
  });
}

async function caught(call: Promise<unknown>): Promise<DocketProblem> {
  const error = await call.then(
    () => assert.fail("it succeeded"),
    (error: unknown) => error,
  );
  assert.ok(error instanceof DocketProblem, String(error));
  return error;
}
