import { isDocketProblem, type ListFilters, type Task } from "@docket/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Proxy } from "./support/proxy.js";
import { Person } from "./support/service.js";

test("a task is created, read, changed, completed and deleted", async () => {
  const ada = await Person.signUp();
  const { tasks } = ada.client();
  const created = await tasks.create({ title: "  Buy oat milk ", description: "Two litres" });
  const { id } = created.data;
  assert.equal(created.replayed, false);
  assert.equal(created.data.user_id, ada.id);
  assert.equal(summary(created.data), "Buy oat milk (Two litres), medium, pending");
  assert.deepEqual((await tasks.get(id)).data, created.data);

  const changes: [() => Promise<{ data: Task; etag: string }>, string][] = [
    [() => tasks.update(id, { title: "Buy rice milk" }), "Buy rice milk (Two litres), medium, pending"],
    [() => tasks.replace(id, { priority: "high" }), "Buy rice milk (Two litres), high, pending"],
    [() => tasks.update(id, { description: null }), "Buy rice milk, high, pending"],
    [() => tasks.complete(id), "Buy rice milk, high, completed"],
    [() => tasks.complete(id), "Buy rice milk, high, pending"],
    [() => tasks.complete(id, true), "Buy rice milk, high, completed"],
    [() => tasks.complete(id, true), "Buy rice milk, high, completed"],
    [() => tasks.complete(id, false), "Buy rice milk, high, pending"],
  ];
  let etag = created.etag;
  for (const [change, want] of changes) {
    const changed = await change();
    assert.equal(summary(changed.data), want);
    assert.notEqual(changed.etag, etag);
    etag = changed.etag;
  }
  assert.equal((await tasks.get(id)).etag, etag);

  assert.equal(await tasks.delete(id), undefined);
  await assert.rejects(tasks.get(id), (error) => isDocketProblem(error, "task_not_found"));
});

test("every kind of change with a stale tag is refused", async () => {
  const { tasks } = (await Person.signUp()).client();
  const { data, etag: ifMatch } = await tasks.create({ title: "Report" });
  const { etag } = await tasks.update(data.id, { title: "Report, again" });
  for (const change of [
    () => tasks.update(data.id, { title: "Mine" }, { ifMatch }),
    () => tasks.replace(data.id, { title: "Mine" }, { ifMatch }),
    () => tasks.complete(data.id, true, { ifMatch }),
    () => tasks.complete(data.id, undefined, { ifMatch }),
    () => tasks.delete(data.id, { ifMatch }),
  ]) {
    await assert.rejects(change(), (error) => isDocketProblem(error, "precondition_failed") && !error.outcomeUnknown);
  }
  assert.equal((await tasks.update(data.id, { priority: "low" }, { ifMatch: etag })).data.title, "Report, again");
});

/** The tags of proxies that compress. */
const compressing: Record<string, (tag: string) => string> = {
  nginx: (tag) => `W/${tag}`,
  Apache: (tag) => tag.replace(/"$/, '-gzip"'),
  Jetty: (tag) => tag.replace(/"$/, '--gzip"'),
  "a proxy that appends ;gzip": (tag) => tag.replace(/"$/, ';gzip"'),
  "a proxy that does both": (tag) => `W/${tag.replace(/"$/, '-br"')}`,
};

for (const [name, compress] of Object.entries(compressing)) {
  // fault G1
  test(`a tag that ${name} has changed works as that of the service`, async (t) => {
    const ada = await Person.signUp();
    const proxy = await Proxy.start(t);
    proxy.compress = compress;
    const { tasks, raw } = ada.client({ baseUrl: proxy.url });
    const { id } = (await ada.client().tasks.create({ title: "Milk" })).data;
    const direct = await ada.client().tasks.get(id);
    const { etag } = await tasks.get(id);
    assert.equal(etag, direct.etag);
    const changed = await tasks.update(id, { title: "Oat milk" }, { ifMatch: etag });
    assert.equal((await tasks.get(id, { ifNoneMatch: changed.etag })).notModified, true);
    const list = await tasks.list();
    const again = await tasks.list({}, { ifNoneMatch: list.etag });
    assert.equal(again.notModified, true);
    assert.equal(again.etag, list.etag);

    const path = { user_id: ada.id, task_id: id };
    const { response } = await raw.GET("/api/{user_id}/tasks/{task_id}", { params: { path } });
    const header = { "If-Match": response.headers.get("ETag") ?? "" };
    assert.equal(header["If-Match"], compress(changed.etag));
    const deleted = await raw.DELETE("/api/{user_id}/tasks/{task_id}", { params: { path, header } });
    assert.equal(deleted.response.status, 204);
  });
}

// fault G2
test("parameters that are empty, as in a form or a URL, are left out", async () => {
  const { tasks } = (await Person.signUp()).client();
  await tasks.create({ title: "Report", priority: "high" });
  await tasks.create({ title: "Milk", completed: true });
  const url = new URL("http://frontend.example/tasks?search=&status=&priority=");
  const { data } = await tasks.list({
    search: url.searchParams.get("search"),
    status: url.searchParams.get("status"),
    priority: url.searchParams.getAll("priority"),
    sort: url.searchParams.get("sort"),
    order: "",
    completed: "",
    limit: "",
    offset: null,
    cursor: "",
  });
  assert.equal(data.total, 2);
  assert.equal(data.limit, 100);
  for await (const task of tasks.all({ search: "", priority: ["", "high"] })) {
    assert.equal(task.title, "Report");
  }
});

// fault G4
test("a task is created on a page without crypto.randomUUID, which browsers have on https and localhost only", async (t) => {
  const { tasks } = (await Person.signUp()).client();
  const { randomUUID } = crypto;
  Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true, writable: true });
  t.after(() => Object.defineProperty(crypto, "randomUUID", { value: randomUUID, configurable: true, writable: true }));
  const [milk, bread] = [await tasks.create({ title: "Milk" }), await tasks.create({ title: "Milk" })];
  assert.notEqual(milk.data.id, bread.data.id);
});

// fault G3
test("a task with a changed property is accepted as a change, which is conditional by the task's etag", async () => {
  const { tasks } = (await Person.signUp()).client();
  const { data: task } = await tasks.create({ title: "Milk", priority: "high" });
  for (const change of [tasks.update, tasks.replace]) {
    const { data: before } = await tasks.get(task.id);
    const { data: after, etag } = await change(task.id, { ...before, title: `${before.title}!` });
    assert.equal(after.title, `${before.title}!`);
    assert.equal(after.etag, etag);
    await assert.rejects(change(task.id, { ...before, title: "Stale" }), (error) =>
      isDocketProblem(error, "precondition_failed"),
    );
  }
  assert.equal((await tasks.get(task.id)).data.title, "Milk!!");
});

// fault G10
test("a task in a list has the etag that its changes need", async () => {
  const { tasks } = (await Person.signUp()).client();
  for (const title of ["a", "b", "c"]) {
    await tasks.create({ title });
  }
  const [c, b, a] = (await tasks.list()).data.tasks;
  assert.ok(a && b && c);
  await tasks.update(a.id, { title: "a!" }, { ifMatch: a.etag });
  await tasks.complete(b.id, true, { ifMatch: b.etag });
  await tasks.delete(c.id, { ifMatch: c.etag });
  for (const stale of [
    () => tasks.update(a.id, { title: "Stale" }, { ifMatch: a.etag }),
    () => tasks.complete(b.id, false, { ifMatch: b.etag }),
    () => tasks.delete(a.id, { ifMatch: a.etag }),
  ]) {
    await assert.rejects(stale(), (error) => isDocketProblem(error, "precondition_failed"));
  }
});

test("a list is filtered, searched and sorted, and undefined parameters are omitted", async () => {
  const { tasks } = (await Person.signUp()).client();
  await tasks.create({ title: "Report", priority: "high" });
  await tasks.create({ title: "Milk" });
  await tasks.create({ title: "50%_off", completed: true, priority: "low" });
  const titles = async (filters?: ListFilters) =>
    (await tasks.list(filters)).data.tasks.map((task) => task.title).join(", ");
  assert.equal(await titles(), "50%_off, Milk, Report");
  assert.equal(await titles({ status: undefined, search: undefined, limit: undefined }), "50%_off, Milk, Report");
  assert.equal(await titles({ status: "pending", sort: "priority" }), "Report, Milk");
  assert.equal(await titles({ completed: false, order: "asc" }), "Report, Milk");
  assert.equal(await titles({ priority: ["high", "low"], sort: "title", order: "asc" }), "50%_off, Report");
  assert.equal(await titles({ search: "%_" }), "50%_off");
  assert.equal(await titles({ limit: 1, offset: 1 }), "Milk");
});

test("iteration yields each task once, page by page", async () => {
  const { tasks } = (await Person.signUp()).client();
  const titles = ["a", "b", "c", "d", "e"];
  for (const title of titles) {
    await tasks.create({ title });
  }
  const iterated: string[] = [];
  for await (const task of tasks.all({ limit: 2, order: "asc" })) {
    iterated.push(task.title);
  }
  assert.deepEqual(iterated, titles);

  const sizes: number[] = [];
  for await (const page of tasks.pages({ limit: 2 })) {
    assert.equal(page.total, 5);
    sizes.push(page.tasks.length);
  }
  assert.deepEqual(sizes, [2, 2, 1]);
  for await (const task of tasks.all({ search: "nothing has this" })) {
    assert.fail(task.title);
  }
});

test("a read with ifNoneMatch returns notModified until something changes", async () => {
  const { tasks } = (await Person.signUp()).client();
  const { data: task } = await tasks.create({ title: "Milk" });
  for (const read of [
    (ifNoneMatch: string | undefined) => tasks.list({ status: "pending" }, { ifNoneMatch }),
    (ifNoneMatch: string | undefined) => tasks.get(task.id, { ifNoneMatch }),
  ]) {
    const first = await read(undefined);
    assert.equal(first.notModified, false);
    const second = await read(first.etag);
    assert.equal(second.notModified, true);
    assert.equal(second.data, undefined);
    assert.equal(second.etag, first.etag);
    await tasks.update(task.id, { title: "Oat milk" });
    const third = await read(first.etag);
    assert.equal(third.notModified, false);
    assert.notEqual(third.etag, first.etag);
  }
});

test("a create with a used key returns the first task, and is refused if the task differs", async () => {
  const { tasks } = (await Person.signUp()).client();
  const idempotencyKey = crypto.randomUUID();
  const first = await tasks.create({ title: "Milk" }, { idempotencyKey });
  const second = await tasks.create({ title: "Milk" }, { idempotencyKey });
  assert.equal(second.replayed, true);
  assert.deepEqual(second.data, first.data);
  await assert.rejects(tasks.create({ title: "Bread" }, { idempotencyKey }), (error) =>
    isDocketProblem(error, "idempotency_key_reused"),
  );
  assert.notEqual((await tasks.create({ title: "Milk" })).data.id, first.data.id);
});

test("the owner is taken from the call, the client or the token, in this order", async () => {
  const [ada, bob] = [await Person.signUp(), await Person.signUp()];
  await ada.client().tasks.create({ title: "Hers" });
  const client = ada.client({ userId: bob.id });
  await assert.rejects(client.tasks.list(), (error) => isDocketProblem(error, "user_mismatch"));
  assert.equal((await client.tasks.list({}, { userId: ada.id })).data.total, 1);
});

test("the raw client sends a token with operations that need one, and none to the probes", async () => {
  const ada = await Person.signUp();
  const { raw } = ada.client();
  const params = { path: { user_id: ada.id } };
  const created = await raw.POST("/api/{user_id}/tasks", { params, body: { title: "Milk" } });
  assert.equal(created.response.status, 201);
  assert.equal((await raw.GET("/api/{user_id}/tasks", { params })).data?.tasks[0]?.id, created.data?.id);

  const anonymous = ada.client({ getToken: () => assert.fail("a probe needs no token") }).raw;
  assert.equal((await anonymous.GET("/health")).data?.status, "healthy");
  assert.equal((await anonymous.GET("/health/ready")).data?.status, "ready");
});

function summary({ title, description, priority, completed }: Task): string {
  const more = description === null ? "" : ` (${description})`;
  return `${title}${more}, ${priority}, ${completed ? "completed" : "pending"}`;
}
