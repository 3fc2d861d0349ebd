import { isDocketProblem, type ListFilters } from "@docket/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Person } from "./support/service.js";

test("tags are added and taken away without a read, and filter lists", async () => {
  const { tasks } = (await Person.signUp()).client();
  const { data: report } = await tasks.create({ title: "Report", tags: ["Work", "work", " urgent "] });
  assert.deepEqual(report.tags, ["Work", "urgent"]);
  await tasks.create({ title: "Milk", tags: ["home"] });
  await Promise.all([tasks.update(report.id, { add_tags: ["home"] }), tasks.update(report.id, { add_tags: ["garden"] })]);
  const { data: changed } = await tasks.update(report.id, { remove_tags: ["URGENT"] });
  assert.deepEqual([...changed.tags].sort(), ["Work", "garden", "home"]);

  const total = async (filters: ListFilters) => (await tasks.list(filters)).data.total;
  assert.equal(await total({ tag: "HOME" }), 2);
  assert.equal(await total({ tag: ["home", "work"] }), 2);
  assert.equal(await total({ tag: ["home", "work"], tag_match: "all" }), 1);
  assert.equal(await total({ tag: ["", "garden"], tag_match: "" }), 1);
  assert.equal(await total({ tag: "" }), 2);
});

test("tags are listed page by page, renamed, merged and deleted", async () => {
  const { tags, tasks } = (await Person.signUp()).client();
  for (const title of ["a", "b", "c"]) {
    await tasks.create({ title, completed: title === "c", tags: ["home", `50% ${title}/?&#ä.`] });
  }
  const names = async () => {
    const all: string[] = [];
    for await (const { name, tasks } of tags.all({ limit: 2 })) {
      all.push(`${name} ${tasks}`);
    }
    return all;
  };
  assert.deepEqual(await names(), ["50% a/?&#ä. 1", "50% b/?&#ä. 1", "50% c/?&#ä. 1", "home 3"]);
  const page = await tags.list({ limit: 1, cursor: "" });
  assert.deepEqual([page.data.tags[0]?.pending, page.data.limit, page.data.next_cursor === null], [1, 1, false]);
  assert.equal((await tags.list({ limit: 1 }, { ifNoneMatch: page.etag })).notModified, true);

  assert.deepEqual(await tags.rename("HOME", "household"), { changed: 3 });
  assert.deepEqual(await tags.rename("50% a/?&#ä.", "50% b/?&#ä."), { changed: 1 });
  assert.deepEqual(await names(), ["50% b/?&#ä. 2", "50% c/?&#ä. 1", "household 3"]);
  assert.equal((await tags.list({ limit: 1 }, { ifNoneMatch: page.etag })).notModified, false);
  assert.deepEqual(await tags.delete("50% B/?&#Ä."), { changed: 2 });
  assert.deepEqual(await names(), ["50% c/?&#ä. 1", "household 3"]);

  for (const missing of [() => tags.rename("home", "house"), () => tags.delete("home")]) {
    await assert.rejects(missing(), (error) => isDocketProblem(error, "tag_not_found"));
  }
  await assert.rejects(tags.rename("household", "a,b"), (error) => isDocketProblem(error, "validation_failed"));
  for (const name of ["", ".", ".."]) {
    await assert.rejects(tags.rename(name, "house"), TypeError);
    await assert.rejects(tags.delete(name), TypeError);
  }
  assert.equal((await tasks.list({ tag: "household" })).data.total, 3);
});

test("the counts are those of the tasks, until something changes", async () => {
  const { stats, tasks } = (await Person.signUp()).client();
  const nothing = { low: 0, medium: 0, high: 0 };
  const empty = { total: 0, pending: 0, completed: 0, pending_by_priority: nothing, completed_by_priority: nothing };
  assert.deepEqual((await stats.get()).data, empty);
  const { data: task } = await tasks.create({ title: "Milk", priority: "high" });
  await tasks.create({ title: "Bread", completed: true });
  const { data, etag } = await stats.get();
  assert.deepEqual(data, {
    total: 2,
    pending: 1,
    completed: 1,
    pending_by_priority: { ...nothing, high: 1 },
    completed_by_priority: { ...nothing, medium: 1 },
  });
  assert.equal((await stats.get({ ifNoneMatch: etag })).notModified, true);
  await tasks.delete(task.id);
  const changed = await stats.get({ ifNoneMatch: etag });
  assert.equal(changed.notModified || changed.data.total, 1);
});
