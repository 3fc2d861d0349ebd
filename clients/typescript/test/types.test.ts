// Compiling this file tests which code the compiler accepts and refuses.
import type { Created, DocketProblem, KnownProblemCode, NotModified, Result, Task, TaskList, Tasks } from "@docket/client";
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

test("the types refuse what the service refuses", () => assert.equal(typeof misuses, "function"));
