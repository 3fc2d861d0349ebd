// Compiling this file tests which code the compiler accepts and refuses.
import type {
  Created,
  DocketProblem,
  KnownProblemCode,
  ListFilters,
  NewTask,
  NotModified,
  Result,
  Task,
  TaskChanges,
  TaskList,
  Tasks,
} from "@docket/client";
import assert from "node:assert/strict";
import { test } from "node:test";

type Is<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

export async function misuses(tasks: Tasks, problem: DocketProblem): Promise<void> {
  // @ts-expect-error a title is required
  await tasks.create({});
  // @ts-expect-error an unknown property
  await tasks.create({ title: "Milk", colour: "red" });
  // @ts-expect-error an unknown priority
  await tasks.update("id", { priority: "urgent" });
  // @ts-expect-error a title cannot be null
  await tasks.update("id", { title: null });
  await tasks.update("id", { description: null });
  // @ts-expect-error a date is a string
  await tasks.update("id", { due_date: new Date() });
  // @ts-expect-error an unknown word
  await tasks.create({ title: "Milk", recurrence_pattern: "fortnightly" });
  // @ts-expect-error tags are added to a task that exists
  await tasks.create({ title: "Milk", add_tags: ["home"] });
  // @ts-expect-error a task that does not recur has no occurrence
  await tasks.skip("id", null);
  // @ts-expect-error an unknown value
  await tasks.list({ due: "today" });
  // @ts-expect-error an alias
  await tasks.list({ tags: "home,work" });
  // @ts-expect-error an unknown status
  await tasks.list({ status: "open" });
  // @ts-expect-error an unknown priority beside a known one
  await tasks.list({ priority: ["high", "urgent"] });
  // @ts-expect-error an unknown filter
  await tasks.list({ statu: "pending" });
  // @ts-expect-error iteration has no offset
  tasks.all({ offset: 10 });
  // @ts-expect-error a create has no ifMatch
  await tasks.create({ title: "Milk" }, { ifMatch: '"1.5"' });

  const created = await tasks.create({ title: "Milk" });
  true satisfies Is<typeof created, Created<Task>>;
  const list = await tasks.list();
  true satisfies Is<typeof list, Result<TaskList>>;
  const maybe = await tasks.list({}, { ifNoneMatch: list.etag });
  true satisfies Is<typeof maybe, Result<TaskList> | NotModified>;
  // @ts-expect-error data may be undefined
  maybe.data.tasks;
  if (!maybe.notModified) {
    true satisfies Is<typeof maybe.data, TaskList>;
  }
  const description: Task["description"] = list.data.tasks[0]?.description ?? null;
  true satisfies Is<typeof description, string | null>;

  if (problem.is("task_not_found", "route_not_found")) {
    true satisfies Is<typeof problem.code, "task_not_found" | "route_not_found">;
  }
  switch (problem.code) {
    case "unavailable" satisfies KnownProblemCode:
    case "a_code_of_the_future":
  }
}

/** Code that compiles also with exactOptionalPropertyTypes, which this project sets. */
export async function uses(tasks: Tasks, form: Record<string, string>, maybe: { text?: string; done?: boolean }): Promise<void> {
  // fault G11
  const draft = { title: "Milk", priority: "high" }; // the type of priority is string
  await tasks.create(draft);
  await tasks.create({ title: "Milk", priority: form["priority"], description: maybe.text, completed: maybe.done });
  await tasks.update("id", { priority: draft.priority, title: maybe.text });
  await tasks.replace("id", draft);
  const filters = { priority: "high", status: "pending", sort: "title", order: "asc" };
  await tasks.list(filters);
  await tasks.list({ priority: "high", search: maybe.text }, { ifNoneMatch: maybe.text });
  await tasks.list({ priority: ["high", "low"] as const });
  tasks.all({ priority: form["priority"], sort: form["sort"] });
  tasks.pages(filters);
  await tasks.create({ title: "Milk", due_date: maybe.text, tags: maybe.text ? [maybe.text] : undefined });
  await tasks.update("id", { due_date: null, recurrence_pattern: form["repeat"], add_tags: ["home"], remove_tags: [] });
  await tasks.list({ tag: form["tag"], tag_match: form["match"], due_after: maybe.text, due: "", sort: "due" });
  await tasks.list({ tag: ["home", "work"] as const, tag_match: "all" });
  const wrapped = (task: NewTask, changes: TaskChanges, all: ListFilters) =>
    Promise.all([tasks.create(task), tasks.update("id", changes), tasks.list(all)]);
  await wrapped({ title: "Milk" }, { priority: "low" }, { status: "all" });

  // fault G3
  const { data: task } = await tasks.get("id");
  await tasks.update(task.id, { ...task, title: "Oat milk" });
  await tasks.replace(task.id, { ...task, completed: true });
  task satisfies TaskChanges;
}

test("the types refuse what the service refuses, and accept what it accepts", () => {
  assert.equal(typeof misuses, "function");
  assert.equal(typeof uses, "function");
});
