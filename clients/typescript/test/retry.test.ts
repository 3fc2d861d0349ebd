import { DocketNetworkError, DocketProblem, isDocketProblem, type Docket } from "@docket/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Proxy, unavailable, type Fault } from "./support/proxy.js";
import { Person } from "./support/service.js";

type Call = (tasks: Docket["tasks"], id: string, ifMatch: string, docket: Docket) => Promise<unknown>;

/** Every call, and whether it is retried if it may have been executed. */
const calls: Record<string, [Call, "always" | "unless it may have been executed"]> = {
  list: [(tasks) => tasks.list(), "always"],
  get: [(tasks, id) => tasks.get(id), "always"],
  create: [(tasks) => tasks.create({ title: "Milk" }), "always"],
  update: [(tasks, id) => tasks.update(id, { title: "Bread" }), "unless it may have been executed"],
  "update with a tag": [(tasks, id, ifMatch) => tasks.update(id, { title: "Bread" }, { ifMatch }), "always"],
  "update with a task's etag": [(tasks, id, etag) => tasks.update(id, { etag, title: "Bread" }), "always"],
  "update with *": [(tasks, id) => tasks.update(id, { title: "Bread" }, { ifMatch: "*" }), "unless it may have been executed"],
  replace: [(tasks, id) => tasks.replace(id, { title: "Bread" }), "unless it may have been executed"],
  "replace with a tag": [(tasks, id, ifMatch) => tasks.replace(id, { title: "Bread" }, { ifMatch }), "always"],
  "complete that sets": [(tasks, id) => tasks.complete(id, true), "always"],
  "complete that toggles": [(tasks, id) => tasks.complete(id), "unless it may have been executed"],
  "complete that toggles, with a tag": [
    (tasks, id, ifMatch) => tasks.complete(id, undefined, { ifMatch }),
    "unless it may have been executed",
  ],
  skip: [(tasks, id) => tasks.skip(id, "2026-03-09"), "always"],
  occurrences: [(tasks, id) => tasks.occurrences(id), "always"],
  stats: [(_, __, ___, { stats }) => stats.get(), "always"],
  "list of tags": [(_, __, ___, { tags }) => tags.list(), "always"],
  "rename of a tag": [(_, __, ___, { tags }) => tags.rename("Home", "home"), "unless it may have been executed"],
  "deletion of a tag": [(_, __, ___, { tags }) => tags.delete("home"), "unless it may have been executed"],
  delete: [(tasks, id) => tasks.delete(id), "unless it may have been executed"],
  "delete with a tag": [(tasks, id, ifMatch) => tasks.delete(id, { ifMatch }), "always"],
};

const notExecuted: Record<string, Fault> = {
  "a 429": { status: 429, headers: { "Retry-After": "0" } },
  "an unavailable service": unavailable("unavailable", "0"),
};

const maybeExecuted: Record<string, Fault> = {
  "a lost connection": "drop request",
  "an unknown outcome": unavailable("outcome_unknown", "0"),
  "a 503 of a gateway": { status: 503, body: "busy" },
  "a 502": { status: 502 },
  "a 504": { status: 504 },
};

for (const [name, [call, retried]] of Object.entries(calls)) {
  test(`${name} is retried ${retried}`, async (t) => {
    const proxy = await Proxy.start(t);
    const ada = await Person.signUp();
    const docket = ada.client({ baseUrl: proxy.url });
    const report = { title: "Report", due_date: "2026-03-09", recurrence_rule: "FREQ=WEEKLY", tags: ["Home"] };
    for (const [fault, next] of Object.entries({ ...notExecuted, ...maybeExecuted })) {
      const { data, etag } = await ada.client().tasks.create(report);
      proxy.next(next);
      const settled = await Promise.allSettled([call(docket.tasks, data.id, etag, docket)]);
      const once = retried !== "always" && fault in maybeExecuted;
      assert.equal(proxy.requests.length, once ? 1 : 2, fault);
      assert.equal(settled[0].status, once ? "rejected" : "fulfilled", fault);
      if (settled[0].status === "rejected") {
        const error = settled[0].reason as DocketProblem | DocketNetworkError;
        assert.equal(error instanceof DocketNetworkError, next === "drop request", fault);
        assert.equal(error.outcomeUnknown, true, fault);
      }
    }
  });
}

test("a create creates one task although several responses are lost", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.next("drop response", "truncate response").url });
  const { data, replayed } = await tasks.create({ title: "Milk" });
  assert.equal(replayed, true);
  const keys = proxy.requests.map(({ headers }) => headers["idempotency-key"]);
  assert.equal(keys.length, 3);
  assert.match(String(keys[0]), /^[0-9a-f]{32}$/);
  assert.equal(new Set(keys).size, 1);
  const list = await tasks.list();
  assert.deepEqual(list.data.tasks, [data]);
});

test("a read with a truncated response is retried", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  await tasks.create({ title: "Milk" });
  proxy.next("truncate response", "drop response");
  assert.equal((await tasks.list()).data.total, 1);
  assert.equal(proxy.requests.length, 3);
});

test("a truncated problem document is a network error", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.next("truncate response", "truncate response", "truncate response").url });
  await assert.rejects(tasks.get("none"), DocketNetworkError);
  assert.equal(proxy.requests.length, 3);
});

test("a change with a lost response is not made twice, and the error reports an unknown outcome", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const { data, etag: ifMatch } = await tasks.create({ title: "Report" });
  proxy.next("drop response");
  await assert.rejects(
    tasks.update(data.id, { title: "Mine" }, { ifMatch }),
    (error) => isDocketProblem(error, "precondition_failed") && error.outcomeUnknown,
  );
  assert.equal((await tasks.get(data.id)).data.title, "Mine");
});

test("a deletion with a lost response succeeds", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const { data, etag: ifMatch } = await tasks.create({ title: "Report" });
  proxy.next("drop response");
  await tasks.delete(data.id, { ifMatch });
  assert.equal(proxy.requests.length, 2);
  assert.equal((await tasks.list()).data.total, 0);
});

test("an occurrence with a lost response is completed once, and skipped once", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const { data } = await tasks.create({ title: "Report", due_date: "2026-03-09", recurrence_rule: "FREQ=WEEKLY" });
  proxy.next("drop response");
  const skipped = await tasks.skip(data.id, "2026-03-09");
  assert.equal(proxy.requests.length, 2);
  assert.equal(skipped.data.due_date, "2026-03-16");
  proxy.next("drop response");
  const completed = await tasks.complete(data.id, true);
  assert.equal(proxy.requests.length, 2);
  assert.equal((await tasks.list()).data.total, 2);
  assert.notEqual(completed.data.next_task_id, null);
  proxy.next("drop response");
  const ifMatch = completed.etag;
  await assert.rejects(
    tasks.skip(completed.data.next_task_id ?? "", "2026-03-16", { ifMatch }),
    (error) => isDocketProblem(error, "precondition_failed"),
  );
});

test("a toggle with a lost response is not retried", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const { data } = await tasks.create({ title: "Report" });
  proxy.next("drop response");
  await assert.rejects(tasks.complete(data.id), (error) => error instanceof DocketNetworkError && error.outcomeUnknown);
  assert.equal((await tasks.get(data.id)).data.completed, true);
});

test("an unreachable service is a network error after three attempts, or the configured number", async (t) => {
  const proxy = await Proxy.start(t);
  const ada = await Person.signUp();
  for (const attempts of [3, 1, 5]) {
    const { tasks } = ada.client({ baseUrl: proxy.url, ...(attempts !== 3 && { retry: { attempts } }) });
    proxy.next("drop request", "drop request", "drop request", "drop request", "drop request", "drop request");
    await assert.rejects(tasks.list(), (error) => {
      assert.ok(error instanceof DocketNetworkError);
      assert.equal(error.attempts, attempts);
      assert.equal(error.outcomeUnknown, false);
      const times = attempts === 1 ? "once" : `${attempts} times`;
      assert.equal(error.message, `Docket could not be reached at ${proxy.url} (tried ${times}).`);
      return error.cause instanceof TypeError; // what fetch threw
    });
    assert.equal(proxy.requests.length, attempts);
  }
});

test("an overloaded service is a problem after three attempts", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const busy = unavailable("unavailable", "0");
  proxy.next(busy, busy, busy);
  await assert.rejects(tasks.create({ title: "Milk" }), (error) => {
    return isDocketProblem(error, "unavailable") && error.retryAfter === 0 && !error.outcomeUnknown;
  });
  assert.equal(proxy.requests.length, 3);
  proxy.next("drop request", busy, busy);
  await assert.rejects(tasks.create({ title: "Milk" }), (error) => isDocketProblem(error) && error.outcomeUnknown);
});

test("a retry waits as long as a 503 of the service asks", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url, retry: { attempts: 2 } });
  await assert.rejects(tasks.create({ title: "fail 53000" }), (error) => {
    return isDocketProblem(error, "unavailable") && error.retryAfter === 1;
  });
  assert.equal(proxy.requests.length, 2);
});

test("a retry is not scheduled after the time limit of the call", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const tomorrow = new Date(Date.now() + 86_400_000).toUTCString();
  for (const wait of ["3600", tomorrow]) {
    proxy.next({ status: 429, headers: { "Retry-After": wait } });
    await assert.rejects(tasks.list(), (error) => error instanceof DocketProblem && Number(error.retryAfter) >= 3600);
    assert.equal(proxy.requests.length, 1);
  }
});

test("a missing response is a network error after the time limit", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url, retry: { totalMs: 100 } });
  proxy.next("hang", "hang", "hang");
  await assert.rejects(tasks.list({}, { userId: "any" }), (error) => {
    return error instanceof DocketNetworkError && (error.cause as Error).name === "TimeoutError";
  });
});

test("an aborted call ends while it waits for a response, a retry or a token", async (t) => {
  const proxy = await Proxy.start(t);
  const ada = await Person.signUp();
  const { tasks } = ada.client({ baseUrl: proxy.url });
  await tasks.list();
  const reason = new Error("the user left the page");

  proxy.next();
  await assert.rejects(tasks.list({}, { signal: AbortSignal.abort(reason) }), (error) => error === reason);
  assert.equal(proxy.requests.length, 0);

  for (const fault of ["hang", { status: 429, headers: { "Retry-After": "20" } }] satisfies Fault[]) {
    const caller = new AbortController();
    proxy.next(fault);
    const call = tasks.list({}, { signal: caller.signal });
    await proxy.received(1);
    caller.abort(reason);
    await assert.rejects(call, (error) => error === reason);
    assert.equal(proxy.requests.length, 1);
  }

  const caller = new AbortController();
  const waiting = ada.client({ getToken: () => new Promise(() => {}) });
  const call = Promise.allSettled([
    waiting.tasks.list({}, { signal: caller.signal }),
    waiting.tasks.list({}, { signal: caller.signal, userId: ada.id }),
  ]);
  caller.abort(reason);
  for (const settled of await call) {
    assert.equal(settled.status === "rejected" && settled.reason, reason);
  }
});

test("a success without JSON is a network error", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  for (const body of ["<h1>Welcome to the hotel</h1>", ""]) {
    const login = { status: 200, headers: { "Content-Type": "text/html" }, body };
    proxy.next(login);
    await assert.rejects(tasks.list(), (error) => error instanceof DocketNetworkError && !error.outcomeUnknown);
    proxy.next(login);
    await assert.rejects(
      tasks.create({ title: "Milk" }),
      (error) => error instanceof DocketNetworkError && error.outcomeUnknown,
    );
  }
});

test("the raw client follows the same retry rules", async (t) => {
  const proxy = await Proxy.start(t);
  const ada = await Person.signUp();
  const { raw } = ada.client({ baseUrl: proxy.next("drop response", unavailable("unavailable", "0")).url });
  const params = { path: { user_id: ada.id } };
  const { data } = await raw.POST("/api/{user_id}/tasks", { params, body: { title: "Milk" } });
  assert.equal(proxy.requests.length, 3);
  assert.equal((await raw.GET("/api/{user_id}/tasks", { params })).data?.total, 1);
  proxy.next("drop response");
  const at = { path: { user_id: ada.id, task_id: data?.id ?? "" } };
  await assert.rejects(raw.DELETE("/api/{user_id}/tasks/{task_id}", { params: at }), DocketNetworkError);
  assert.equal(proxy.requests.length, 1);
});

test("a custom fetch sends every attempt", async (t) => {
  const proxy = await Proxy.start(t);
  const sent: Request[] = [];
  const { tasks } = (await Person.signUp()).client({
    baseUrl: proxy.next("drop request").url,
    fetch: (request) => (sent.push(request), fetch(request)),
  });
  await tasks.create({ title: "Milk" });
  assert.equal(sent.length, 2);
});
