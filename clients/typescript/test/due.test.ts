import { addDays, isDocketProblem, isOverdue, now, startOfDay, today, type ListFilters } from "@docket/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Person } from "./support/service.js";

test("a due date is a day, and with a time and a zone an instant", async () => {
  const { tasks } = (await Person.signUp()).client();
  const { data: day } = await tasks.create({ title: "Milk", due_date: "2026-03-09" });
  assert.deepEqual([day.due_date, day.due_time, day.time_zone, day.due_at], ["2026-03-09", null, null, null]);
  const changes = { due_time: "09:30", time_zone: "America/Los_Angeles" };
  const { data: timed } = await tasks.update(day.id, changes);
  assert.equal(timed.due_at, "2026-03-09T16:30:00.000000Z");
  const { data: same } = await tasks.update(day.id, { ...timed, title: "Oat milk" });
  assert.deepEqual({ ...same, title: timed.title, ...versions(timed) }, timed);
  const { data: cleared } = await tasks.update(day.id, { due_date: null });
  assert.deepEqual([cleared.due_date, cleared.due_time, cleared.time_zone, cleared.due_at], [null, null, null, null]);
  await assert.rejects(tasks.update(day.id, { due_time: "09:30" }), (error) => {
    return isDocketProblem(error, "validation_failed") && error.errors.some(({ pointer }) => pointer?.startsWith("#/"));
  });
});

/** Returns what every change of a task changes. */
function versions({ updated_at, revision, etag }: { updated_at: string; revision: number; etag: string }): object {
  return { updated_at, revision, etag };
}

for (const zone of ["America/Los_Angeles", "UTC", "Pacific/Auckland"]) {
  test(`what is overdue or due today in ${zone} is so in lists as it is by isOverdue`, async () => {
    const { tasks } = (await Person.signUp()).client();
    const instant = new Date();
    const day = today(zone, instant);
    const at = (minutes: number) => now("UTC", new Date(instant.getTime() + minutes * 60_000)).slice(0, 16).split("T");
    for (const days of [-2, -1, 0, 1, 2]) {
      await tasks.create({ title: `day ${days}`, due_date: addDays(day, days) });
    }
    for (const minutes of [-5, 5]) {
      const [due_date, due_time] = at(minutes);
      await tasks.create({ title: `${minutes} minutes`, due_date, due_time, time_zone: "UTC" });
    }
    await tasks.create({ title: "never" });
    await tasks.create({ title: "done", due_date: addDays(day, -2), completed: true });
    const titles = async (filters: ListFilters) => {
      const { data } = await tasks.list({ ...filters, sort: "due", order: "asc" });
      return data.tasks.map(({ title }) => title);
    };
    const { data } = await tasks.list({ sort: "due", order: "asc" });
    const overdue = data.tasks.filter((task) => isOverdue(task, zone, instant)).map(({ title }) => title);
    assert.deepEqual([...overdue].sort(), ["-5 minutes", "day -1", "day -2"]);
    assert.deepEqual(await titles({ status: "pending", due_before: now(zone, instant) }), overdue);

    const [begins, ends] = [startOfDay(day, zone), startOfDay(addDays(day, 1), zone)];
    const dueToday = data.tasks.filter(({ due_date, due_at }) => {
      return due_at === null ? due_date === day : today(zone, new Date(due_at)) === day;
    });
    assert.ok(dueToday.length >= 2);
    assert.deepEqual(await titles({ due_after: begins, due_before: ends }), dueToday.map(({ title }) => title));
    const days = data.tasks.filter(({ due_date }) => due_date === day).map(({ title }) => title);
    assert.deepEqual(await titles({ due_after: day, due_before: addDays(day, 1) }), days);
    assert.equal((await titles({ due_before: begins })).length + (await titles({ due_after: begins })).length, 8);
    assert.deepEqual(await titles({ due: "none" }), ["never"]);
  });
}

test("completing an occurrence names the next one, and reopening takes it away", async () => {
  const { tasks } = (await Person.signUp()).client();
  const draft = { title: "Rent", due_date: "2026-01-31", recurrence_rule: "FREQ=MONTHLY", recurrence_mode: "keep_missed" };
  const { data: first } = await tasks.create(draft);
  const { data: completed } = await tasks.complete(first.id, true);
  assert.ok(completed.completed_at !== null && completed.next_task_id !== null);
  assert.equal((await tasks.complete(first.id, true)).data.next_task_id, completed.next_task_id);
  const { data: next } = await tasks.get(completed.next_task_id);
  assert.deepEqual([next.due_date, next.series_id, next.completed], ["2026-02-28", first.id, false]);
  await tasks.complete(first.id, false);
  await assert.rejects(tasks.get(next.id), (error) => isDocketProblem(error, "task_not_found"));
});

test("the next occurrence depends on the day where the owner is", async (t) => {
  const { tasks } = (await Person.signUp()).client();
  const utc = today("UTC");
  const draft = { title: "Water the plants", due_date: addDays(utc, -9), recurrence_pattern: "daily" };
  const nextAfter = async (change: () => Promise<{ data: { next_task_id: string | null } }>) => {
    return (await tasks.get((await change()).data.next_task_id ?? "")).data.due_date;
  };
  for (const days of [-1, 0, 1]) {
    const { data } = await tasks.create(draft);
    const day = addDays(utc, days);
    assert.equal(await nextAfter(() => tasks.complete(data.id, true, { today: day })), day);
  }
  const zone = process.env["TZ"];
  t.after(() => (zone === undefined ? delete process.env["TZ"] : (process.env["TZ"] = zone)));
  for (const there of ["Etc/GMT+12", "Pacific/Kiritimati"]) {
    process.env["TZ"] = there;
    const { data } = await tasks.create(draft);
    const before = today(there);
    const next = await nextAfter(() => tasks.complete(data.id));
    assert.ok([before, today(there)].includes(next ?? ""), `${next} follows in ${there}`); // midnight may have passed
  }
  await assert.rejects(
    tasks.complete((await tasks.create(draft)).data.id, true, { today: addDays(utc, 5) }),
    (error) => isDocketProblem(error, "validation_failed") && error.errors[0]?.pointer === "#/today",
  );
});

test("a task is completed also where the clock is wrong by days", async (t) => {
  const { tasks } = (await Person.signUp()).client();
  const { data } = await tasks.create({ title: "Milk", due_date: "2026-03-09", recurrence_rule: "FREQ=DAILY" });
  t.mock.timers.enable({ apis: ["Date"], now: Date.parse("2001-01-01T00:00:00Z") });
  const { data: completed } = await tasks.complete(data.id, true);
  assert.equal(completed.completed, true);
  t.mock.timers.reset();
  assert.ok(((await tasks.get(completed.next_task_id ?? "")).data.due_date ?? "") >= addDays(today("UTC"), -1));
});

test("an occurrence is skipped, and the days to come are listed", async () => {
  const { tasks } = (await Person.signUp()).client();
  const { data: task } = await tasks.create({
    title: "Report",
    due_date: "2026-03-16",
    due_time: "09:30",
    time_zone: "Europe/Berlin",
    recurrence_rule: "FREQ=WEEKLY;BYDAY=MO;COUNT=4",
  });
  const { data, etag } = await tasks.occurrences(task.id, { limit: 2 });
  assert.deepEqual(data.occurrences, [
    { occurrence_date: "2026-03-23", due_at: "2026-03-23T08:30:00.000000Z" },
    { occurrence_date: "2026-03-30", due_at: "2026-03-30T07:30:00.000000Z" },
  ]);
  assert.equal((await tasks.occurrences(task.id)).data.occurrences.length, 3);
  assert.equal((await tasks.occurrences(task.id, { limit: 2 }, { ifNoneMatch: etag })).notModified, true);

  for (let time = 0; time < 2; time++) {
    const skipped = await tasks.skip(task.id, "2026-03-16");
    assert.deepEqual([skipped.data.id, skipped.data.due_date, skipped.data.completed], [task.id, "2026-03-23", false]);
    assert.equal(skipped.etag, skipped.data.etag);
  }
  await assert.rejects(tasks.skip(task.id, "2026-04-06"), (error) => isDocketProblem(error, "validation_failed"));
  await assert.rejects(tasks.skip(task.id, "2026-03-23", { ifMatch: '"1.0"' }), (error) =>
    isDocketProblem(error, "precondition_failed"),
  );
  await assert.rejects(tasks.skip("", "2026-03-23"), TypeError);
});
