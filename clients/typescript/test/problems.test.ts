import { DocketProblem, isDocketProblem, problemCodes, type Docket, type KnownProblemCode } from "@docket/client";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Proxy, type Answer } from "./support/proxy.js";
import { Person } from "./support/service.js";

/** A call that the service refuses; `id` is a task's. */
type Mistake = (client: Docket, owner: string, id: string) => Promise<unknown>;

/** Sends with the raw client what the types of the other surface do not allow. */
function raw(init: RequestInit): Mistake {
  return ({ raw }, owner) => {
    const answer = raw.POST("/api/{user_id}/tasks", {
      params: { path: { user_id: owner } },
      body: { title: "Milk" },
      bodySerializer: () => init.body ?? "",
      headers: { ...(init.headers as Record<string, string>) },
    });
    return answer.then(({ error, response }) => Promise.reject(new DocketProblem(response, error, false)));
  };
}

/** Sends what the document does not have at all. */
function undocumented(method: "delete" | "patch", path: string): Mistake {
  return ({ raw }, user_id, task_id) => {
    const answer = raw.request(method as "get", path as "/health", { params: { path: { user_id, task_id } }, body: {} } as never);
    return answer.then(({ error, response }) => Promise.reject(new DocketProblem(response, error, false)));
  };
}

const nobodys = "00000000-0000-4000-8000-000000000000";

const mistakes: Record<string, [number, KnownProblemCode, Mistake]> = {
  "two filters that contradict each other": [
    400,
    "invalid_parameter",
    ({ tasks }) => tasks.list({ status: "pending", completed: true }),
  ],
  "a filter that does not exist": [400, "invalid_parameter", ({ tasks }) => tasks.list({ statu: "pending" } as object)],
  "a broken cursor": [400, "invalid_parameter", ({ tasks }) => tasks.list({ cursor: "no_cursor" })],
  "an update of nothing": [400, "no_changes", ({ tasks }, _, id) => tasks.update(id, {})],
  "a body that is no JSON": [400, "malformed_json", raw({ body: '{"title":' })],
  "a body where there is none": [
    400,
    "unexpected_body",
    undocumented("delete", "/api/{user_id}/tasks/{task_id}"),
  ],
  "another owner's tasks": [403, "user_mismatch", ({ tasks }) => tasks.list({}, { userId: "somebody-else" })],
  "a task that does not exist": [404, "task_not_found", ({ tasks }) => tasks.get(nobodys)],
  "an id that is none": [404, "task_not_found", ({ tasks }) => tasks.get("no/id?")],
  "an update of no task": [404, "task_not_found", ({ tasks }) => tasks.update(nobodys, { title: "Milk" })],
  "a deletion of no task": [404, "task_not_found", ({ tasks }) => tasks.delete(nobodys)],
  "an empty id": [404, "route_not_found", ({ tasks }) => tasks.get("")],
  "a method that the address does not have": [
    405,
    "method_not_allowed",
    undocumented("patch", "/api/{user_id}/tasks"),
  ],
  "an answer that may not be JSON": [406, "not_acceptable", raw({ body: "{}", headers: { Accept: "text/html" } })],
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
  "a body that is no JSON by its own word": [
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
  // The database of these tests fails with the SQLSTATE in the title.
  "a fault of the service": [500, "internal_error", ({ tasks }) => tasks.create({ title: "fail XX000" })],
  "a database without room": [503, "unavailable", ({ tasks }) => tasks.create({ title: "fail 53000" })],
  "a database that goes": [503, "outcome_unknown", ({ tasks }) => tasks.create({ title: "fail 57P01" })],
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

test("every fault of a request is named, with its place", async () => {
  const { tasks } = (await Person.signUp()).client();
  const task = { title: " ", priority: "urgent", colour: "red" } as never;
  const { errors } = await caught(tasks.create(task));
  assert.deepEqual(errors.map(({ pointer }) => pointer).sort(), ["#/colour", "#/priority", "#/title"]);
  const parameters = await caught(tasks.list({ limit: 0 }));
  assert.deepEqual(parameters.errors.map(({ parameter }) => parameter), ["limit"]);
});

test("a problem is narrowed by its code", async () => {
  const { tasks } = (await Person.signUp()).client();
  const problem = await caught(tasks.get(nobodys));
  assert.equal(problem.is("task_not_found"), true);
  assert.equal(problem.is("token_expired", "task_not_found"), true);
  assert.equal(problem.is("token_expired"), false);
  assert.equal(isDocketProblem(problem), true);
  assert.equal(isDocketProblem(new Error("task_not_found"), "task_not_found"), false);
});

test("the known codes are those that the document lists for people, and the service explains each", async () => {
  const page = await readFile(new URL("../../../docs/api.md", import.meta.url), "utf8");
  const listed = [...page.matchAll(/^\| \d{3} \| `(\w+)` \|/gm)].map(([, code]) => code);
  assert.deepEqual([...problemCodes].sort(), listed.sort());
});

const strange: Record<string, [Answer, Partial<DocketProblem>]> = {
  "a code of the future": [
    { status: 418, headers: { "Content-Type": "application/json" }, body: '{"code":"teapot","detail":"Short."}' },
    { code: "teapot", detail: "Short.", type: "about:blank", errors: [] },
  ],
  "a page of a gateway": [
    { status: 400, headers: { "Content-Type": "text/html" }, body: "<h1>Bad</h1>" },
    { code: "unexpected_answer", detail: "The answer was 400 without a problem document.", requestId: undefined },
  ],
  "no body at all": [{ status: 500 }, { code: "unexpected_answer", title: "HTTP status 500" }],
  "members of the wrong kind": [
    { status: 409, headers: { "Content-Type": "application/json" }, body: '{"code":7,"errors":[1,{"detail":"x"}]}' },
    { code: "unexpected_answer", errors: [{ detail: "x" }] },
  ],
  "JSON that is no object": [
    { status: 404, headers: { "Content-Type": "application/json", "X-Request-Id": "abc" }, body: "[]" },
    { code: "unexpected_answer", requestId: "abc" },
  ],
};

for (const [name, [answer, want]] of Object.entries(strange)) {
  test(`${name} is still a problem`, async (t) => {
    const proxy = await Proxy.start(t);
    const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.next(answer).url });
    const problem = await caught(tasks.get(nobodys));
    assert.equal(problem.status, answer.status);
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
