import { DocketNetworkError, DocketProblem, isDocketProblem, type Docket } from "@docket/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Proxy, unavailable, type Fault } from "./support/proxy.js";
import { Person } from "./support/service.js";

type Call = (tasks: Docket["tasks"], id: string, ifMatch: string) => Promise<unknown>;

/** Every call, and whether it is repeated when it may have been executed. */
const calls: Record<string, [Call, "always" | "unless it may be done"]> = {
  list: [(tasks) => tasks.list(), "always"],
  get: [(tasks, id) => tasks.get(id), "always"],
  create: [(tasks) => tasks.create({ title: "Milk" }), "always"],
  update: [(tasks, id) => tasks.update(id, { title: "Bread" }), "unless it may be done"],
  "update with a tag": [(tasks, id, ifMatch) => tasks.update(id, { title: "Bread" }, { ifMatch }), "always"],
  "update with *": [(tasks, id) => tasks.update(id, { title: "Bread" }, { ifMatch: "*" }), "unless it may be done"],
  replace: [(tasks, id) => tasks.replace(id, { title: "Bread" }), "unless it may be done"],
  "replace with a tag": [(tasks, id, ifMatch) => tasks.replace(id, { title: "Bread" }, { ifMatch }), "always"],
  "complete that sets": [(tasks, id) => tasks.complete(id, true), "always"],
  "complete that toggles": [(tasks, id) => tasks.complete(id), "unless it may be done"],
  "complete that toggles, with a tag": [
    (tasks, id, ifMatch) => tasks.complete(id, undefined, { ifMatch }),
    "unless it may be done",
  ],
  delete: [(tasks, id) => tasks.delete(id), "unless it may be done"],
  "delete with a tag": [(tasks, id, ifMatch) => tasks.delete(id, { ifMatch }), "always"],
};

const notDone: Record<string, Fault> = {
  "a 429": { status: 429, headers: { "Retry-After": "0" } },
  "an unavailable service": unavailable("unavailable", "0"),
};

const maybeDone: Record<string, Fault> = {
  "a cut connection": "cut",
  "an unknown outcome": unavailable("outcome_unknown", "0"),
  "a 503 of somebody else's": { status: 503, body: "busy" },
  "a 502": { status: 502 },
  "a 504": { status: 504 },
};

for (const [name, [call, repeated]] of Object.entries(calls)) {
  test(`${name} is repeated ${repeated}`, async (t) => {
    const proxy = await Proxy.start(t);
    const ada = await Person.signUp();
    const { tasks } = ada.client({ baseUrl: proxy.url });
    for (const [fault, next] of Object.entries({ ...notDone, ...maybeDone })) {
      const { data, etag } = await ada.client().tasks.create({ title: "Report" });
      proxy.next(next);
      const settled = await Promise.allSettled([call(tasks, data.id, etag)]);
      const once = repeated !== "always" && fault in maybeDone;
      assert.equal(proxy.requests.length, once ? 1 : 2, fault);
      assert.equal(settled[0].status, once ? "rejected" : "fulfilled", fault);
      if (settled[0].status === "rejected") {
        const error = settled[0].reason as DocketProblem | DocketNetworkError;
        assert.equal(error instanceof DocketNetworkError, next === "cut", fault);
        assert.equal(error.outcomeUnknown, true, fault);
      }
    }
  });
}

test("a create whose answer is lost again and again makes one task", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.next("lose", "tear").url });
  const { data, replayed } = await tasks.create({ title: "Milk" });
  assert.equal(replayed, true);
  const keys = proxy.requests.map(({ headers }) => headers["idempotency-key"]);
  assert.equal(keys.length, 3);
  assert.match(String(keys[0]), /^[0-9a-f-]{36}$/);
  assert.equal(new Set(keys).size, 1);
  const list = await tasks.list();
  assert.deepEqual(list.data.tasks, [data]);
});

test("a read whose answer breaks off is repeated", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  await tasks.create({ title: "Milk" });
  proxy.next("tear", "lose");
  assert.equal((await tasks.list()).data.total, 1);
  assert.equal(proxy.requests.length, 3);
});

test("an error whose document breaks off is no answer either", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.next("tear", "tear", "tear").url });
  await assert.rejects(tasks.get("none"), DocketNetworkError);
  assert.equal(proxy.requests.length, 3);
});

test("a change whose answer was lost is not made twice, and the error says that it may be done", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const { data, etag: ifMatch } = await tasks.create({ title: "Report" });
  proxy.next("lose");
  await assert.rejects(
    tasks.update(data.id, { title: "Mine" }, { ifMatch }),
    (error) => isDocketProblem(error, "precondition_failed") && error.outcomeUnknown,
  );
  assert.equal((await tasks.get(data.id)).data.title, "Mine");
});

test("a deletion whose answer was lost is done", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const { data, etag: ifMatch } = await tasks.create({ title: "Report" });
  proxy.next("lose");
  await tasks.delete(data.id, { ifMatch });
  assert.equal(proxy.requests.length, 2);
  assert.equal((await tasks.list()).data.total, 0);
});

test("a toggle whose answer was lost is made once", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const { data } = await tasks.create({ title: "Report" });
  proxy.next("lose");
  await assert.rejects(tasks.complete(data.id), (error) => error instanceof DocketNetworkError && error.outcomeUnknown);
  assert.equal((await tasks.get(data.id)).data.completed, true);
});

test("a service that stays away is a network error after three attempts, or as many as wanted", async (t) => {
  const proxy = await Proxy.start(t);
  const ada = await Person.signUp();
  for (const attempts of [3, 1, 5]) {
    const { tasks } = ada.client({ baseUrl: proxy.url, ...(attempts !== 3 && { retry: { attempts } }) });
    proxy.next("cut", "cut", "cut", "cut", "cut", "cut");
    await assert.rejects(tasks.list(), (error) => {
      assert.ok(error instanceof DocketNetworkError);
      assert.equal(error.attempts, attempts);
      assert.equal(error.outcomeUnknown, false);
      return error.cause instanceof TypeError; // what fetch threw
    });
    assert.equal(proxy.requests.length, attempts);
  }
});

test("a service that stays overloaded is a problem after three attempts", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const busy = unavailable("unavailable", "0");
  proxy.next(busy, busy, busy);
  await assert.rejects(tasks.create({ title: "Milk" }), (error) => {
    return isDocketProblem(error, "unavailable") && error.retryAfter === 0 && !error.outcomeUnknown;
  });
  assert.equal(proxy.requests.length, 3);
  proxy.next("cut", busy, busy);
  await assert.rejects(tasks.create({ title: "Milk" }), (error) => isDocketProblem(error) && error.outcomeUnknown);
});

test("a real 503 of the service is waited for as it asks", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url, retry: { attempts: 2 } });
  await assert.rejects(tasks.create({ title: "fail 53000" }), (error) => {
    return isDocketProblem(error, "unavailable") && error.retryAfter === 1;
  });
  assert.equal(proxy.requests.length, 2);
});

test("a wait that would be longer than the call may take is not begun", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url });
  const tomorrow = new Date(Date.now() + 86_400_000).toUTCString();
  for (const wait of ["3600", tomorrow]) {
    proxy.next({ status: 429, headers: { "Retry-After": wait } });
    await assert.rejects(tasks.list(), (error) => error instanceof DocketProblem && Number(error.retryAfter) >= 3600);
    assert.equal(proxy.requests.length, 1);
  }
});

test("an answer that never comes is given up", async (t) => {
  const proxy = await Proxy.start(t);
  const { tasks } = (await Person.signUp()).client({ baseUrl: proxy.url, retry: { totalMs: 100 } });
  proxy.next("hang", "hang", "hang");
  await assert.rejects(tasks.list({}, { userId: "any" }), (error) => {
    return error instanceof DocketNetworkError && (error.cause as Error).name === "TimeoutError";
  });
});

test("a caller who goes is let go, while an answer, the next attempt or a token is waited for", async (t) => {
  const proxy = await Proxy.start(t);
  const ada = await Person.signUp();
  const { tasks } = ada.client({ baseUrl: proxy.url });
  await tasks.list();
  const gone = new Error("gone");

  proxy.next();
  await assert.rejects(tasks.list({}, { signal: AbortSignal.abort(gone) }), (error) => error === gone);
  assert.equal(proxy.requests.length, 0);

  for (const fault of ["hang", { status: 429, headers: { "Retry-After": "20" } }] satisfies Fault[]) {
    const caller = new AbortController();
    proxy.next(fault);
    const call = tasks.list({}, { signal: caller.signal });
    await proxy.seen(1);
    caller.abort(gone);
    await assert.rejects(call, (error) => error === gone);
    assert.equal(proxy.requests.length, 1);
  }

  const caller = new AbortController();
  const waiting = ada.client({ getToken: () => new Promise(() => {}) });
  const call = Promise.allSettled([
    waiting.tasks.list({}, { signal: caller.signal }),
    waiting.tasks.list({}, { signal: caller.signal, userId: ada.id }),
  ]);
  caller.abort(gone);
  for (const settled of await call) {
    assert.equal(settled.status === "rejected" && settled.reason, gone);
  }
});

test("a success that is not the service's is no answer", async (t) => {
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

test("the raw client repeats by the same rules", async (t) => {
  const proxy = await Proxy.start(t);
  const ada = await Person.signUp();
  const { raw } = ada.client({ baseUrl: proxy.next("lose", unavailable("unavailable", "0")).url });
  const params = { path: { user_id: ada.id } };
  const { data } = await raw.POST("/api/{user_id}/tasks", { params, body: { title: "Milk" } });
  assert.equal(proxy.requests.length, 3);
  assert.equal((await raw.GET("/api/{user_id}/tasks", { params })).data?.total, 1);
  proxy.next("lose");
  const at = { path: { user_id: ada.id, task_id: data?.id ?? "" } };
  await assert.rejects(raw.DELETE("/api/{user_id}/tasks/{task_id}", { params: at }), DocketNetworkError);
  assert.equal(proxy.requests.length, 1);
});

test("another fetch can be given, and sends every attempt", async (t) => {
  const proxy = await Proxy.start(t);
  const sent: Request[] = [];
  const { tasks } = (await Person.signUp()).client({
    baseUrl: proxy.next("cut").url,
    fetch: (request) => (sent.push(request), fetch(request)),
  });
  await tasks.create({ title: "Milk" });
  assert.equal(sent.length, 2);
});
