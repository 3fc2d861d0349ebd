// What the compiler must refuse: this file is a test when it is compiled.
import type { DocketProblem, Found, KnownProblemCode, NotModified, Task, TaskList, Tasks } from "@docket/client";
import assert from "node:assert/strict";
import { test } from "node:test";

type Is<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

export async function misuses(tasks: Tasks, problem: DocketProblem): Promise<void> {
  // @ts-expect-error a title is needed
  await tasks.create({});
  // @ts-expect-error a misspelt property
  await tasks.create({ title: "Milk", colour: "red" });
  // @ts-expect-error no such priority
  await tasks.update("id", { priority: "urgent" });
  // @ts-expect-error a title cannot be cleared
  await tasks.update("id", { title: null });
  await tasks.update("id", { description: null });
  // @ts-expect-error a misspelt filter
  await tasks.list({ statu: "pending" });
  // @ts-expect-error a walk has no offset
  tasks.all({ offset: 10 });
  // @ts-expect-error a create has no tag
  await tasks.create({ title: "Milk" }, { ifMatch: '"1.5"' });

  const list = await tasks.list();
  true satisfies Is<typeof list, Found<TaskList>>;
  const maybe = await tasks.list({}, { ifNoneMatch: list.etag });
  true satisfies Is<typeof maybe, Found<TaskList> | NotModified>;
  // @ts-expect-error it may not be there
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

test("the types refuse what the service would", () => assert.equal(typeof misuses, "function"));
