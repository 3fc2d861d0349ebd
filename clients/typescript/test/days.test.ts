import { addDays, isOverdue, now, startOfDay, today } from "@docket/client";
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

/** Sets the time zone of Node.js until the test ends. */
function setZone(t: TestContext, zone: string): void {
  const before = process.env["TZ"];
  t.after(() => (before === undefined ? delete process.env["TZ"] : (process.env["TZ"] = before)));
  process.env["TZ"] = zone;
}

test("the present day and instant are those of the zone", (t) => {
  const instant = new Date("2026-03-09T10:30:15.999Z");
  for (const [zone, want] of [
    ["UTC", "2026-03-09T10:30:15+00:00"],
    ["America/Los_Angeles", "2026-03-09T03:30:15-07:00"],
    ["Europe/Berlin", "2026-03-09T11:30:15+01:00"],
    ["Pacific/Auckland", "2026-03-09T23:30:15+13:00"],
    ["Pacific/Kiritimati", "2026-03-10T00:30:15+14:00"],
    ["Etc/GMT+12", "2026-03-08T22:30:15-12:00"],
    ["America/St_Johns", "2026-03-09T08:00:15-02:30"],
    ["Asia/Kathmandu", "2026-03-09T16:15:15+05:45"],
  ] as const) {
    assert.equal(now(zone, instant), want);
    assert.equal(today(zone, instant), want.slice(0, 10));
    assert.equal(Date.parse(want), Date.parse("2026-03-09T10:30:15Z"));
    setZone(t, zone);
    assert.equal(now(undefined, instant), want);
    assert.equal(today(undefined, instant), want.slice(0, 10));
  }
  const [before, present, after] = [Date.now(), Date.parse(now()), Date.now()];
  assert.ok(before - 1000 < present && present <= after);
  assert.throws(() => today("Europe/Atlantis"), RangeError);
});

/** Days that begin at another time than one would think. */
const days: [zone: string, date: string, begins: string][] = [
  ["Europe/Berlin", "2026-03-09", "2026-03-09T00:00:00+01:00"],
  ["Europe/Berlin", "2026-03-29", "2026-03-29T00:00:00+01:00"], // the clock is set forward at 2
  ["Europe/Berlin", "2026-03-30", "2026-03-30T00:00:00+02:00"],
  ["Australia/Lord_Howe", "2026-04-06", "2026-04-06T00:00:00+10:30"],
  ["Asia/Beirut", "2026-03-29", "2026-03-29T01:00:00+03:00"], // forward at midnight
  ["Asia/Beirut", "2026-10-25", "2026-10-25T00:00:00+02:00"], // back at midnight, to 23:00 of the day before
  ["America/Havana", "2026-03-08", "2026-03-08T01:00:00-04:00"], // forward at midnight
  ["America/Havana", "2026-11-01", "2026-11-01T00:00:00-04:00"], // back at 1: midnight occurs twice
  ["America/Asuncion", "2023-10-01", "2023-10-01T01:00:00-03:00"], // forward at midnight
  ["America/Asuncion", "2024-03-24", "2024-03-24T00:00:00-04:00"], // back at midnight, to 23:00 of the day before
  ["America/St_Johns", "2011-11-06", "2011-11-06T00:00:00-02:30"], // back at 00:01, to 23:01 of the day before
  ["Pacific/Apia", "2011-12-29", "2011-12-29T00:00:00-10:00"],
  ["Pacific/Apia", "2011-12-30", "2011-12-31T00:00:00+14:00"], // a day that Samoa left out
  ["Pacific/Apia", "2011-12-31", "2011-12-31T00:00:00+14:00"],
  ["Pacific/Kwajalein", "1993-08-21", "1993-08-22T00:00:00+12:00"], // a day that Kwajalein left out
  ["Africa/Monrovia", "1971-06-01", "1971-06-01T00:00:30-00:44"], // midnight at an offset of -00:44:30
  ["UTC", "1970-01-01", "1970-01-01T00:00:00+00:00"],
  ["UTC", "9999-12-31", "9999-12-31T00:00:00+00:00"],
];

test("a day begins at midnight, or at the first instant after", (t) => {
  for (const [zone, date, begins] of days) {
    assert.equal(startOfDay(date, zone), begins, `${date} in ${zone}`);
    setZone(t, zone);
    assert.equal(startOfDay(date), begins, `${date} in ${zone}, as that of Node.js`);
  }
  for (const invalid of ["", "2026-02-30", "2026-2-3", "2026-03-09T00:00:00Z", "09.03.2026"]) {
    assert.throws(() => startOfDay(invalid), RangeError, invalid);
  }
});

// With ALL_ZONES=1 this takes half a minute. The day of an instant is told by a format of another shape.
test("around every change of the clock from 1970 to 2037, a day begins at its first instant", () => {
  const day = 86_400_000;
  let changes = 0;
  const sampled = process.env["ALL_ZONES"] === "1" ? 1 : 10;
  for (const zone of Intl.supportedValuesOf("timeZone").filter((_, number) => number % sampled === 0)) {
    const format = new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" });
    const offsetAt = (time: number) => now(zone, new Date(time)).slice(19);
    const step = 6 * day; // no change is undone within six days
    let offset = offsetAt(0);
    for (let time = step; time < Date.UTC(2038, 0); time += step) {
      if (offsetAt(time) === offset) {
        continue;
      }
      offset = offsetAt(time);
      let [before, after] = [time - step, time];
      while (after - before > 60_000) {
        const middle = Math.floor((before + after) / 2);
        [before, after] = offsetAt(middle) === offset ? [before, middle] : [middle, after];
      }
      changes++;
      for (const date of [-1, 0, 1].map((days) => new Date(after + days * day).toISOString().slice(0, 10))) {
        const begins = Date.parse(startOfDay(date, zone));
        assert.ok(format.format(begins) >= date, `${date} begins in ${zone} at ${startOfDay(date, zone)}`);
        for (const earlier of [1, 60, 1800, 3600, 5400, 7200, 43_200]) {
          const there = format.format(begins - earlier * 1000);
          assert.ok(there < date, `${date} has begun in ${zone} ${earlier} seconds before ${startOfDay(date, zone)}`);
        }
      }
    }
  }
  assert.ok(changes > 10_000 / sampled, `only ${changes} changes were found`);
});

test("days are added as days", () => {
  assert.equal(addDays("2026-03-28", 1), "2026-03-29");
  assert.equal(addDays("2026-03-29", 1), "2026-03-30");
  assert.equal(addDays("2024-02-28", 1), "2024-02-29");
  assert.equal(addDays("2026-01-01", -1), "2025-12-31");
  assert.equal(addDays("2026-03-09", 365), "2027-03-09");
  assert.throws(() => addDays("2026-02-30", 1), RangeError);
});

test("a task without a time is overdue after the day of the reader, and one with a time after its instant", () => {
  const instant = new Date("2026-03-09T10:30:00Z"); // 10 March on Kiritimati, 9 March in Berlin
  const wholeDay = { completed: false, due_date: "2026-03-09", due_at: null };
  assert.equal(isOverdue(wholeDay, "Pacific/Kiritimati", instant), true);
  assert.equal(isOverdue(wholeDay, "Europe/Berlin", instant), false);
  assert.equal(isOverdue({ ...wholeDay, completed: true }, "Pacific/Kiritimati", instant), false);
  assert.equal(isOverdue({ ...wholeDay, due_date: null }, "Pacific/Kiritimati", instant), false);
  for (const zone of ["Pacific/Kiritimati", "Europe/Berlin"]) {
    assert.equal(isOverdue({ ...wholeDay, due_at: "2026-03-09T10:29:00.000000Z" }, zone, instant), true);
    assert.equal(isOverdue({ ...wholeDay, due_at: "2026-03-09T10:30:00.000000Z" }, zone, instant), false);
  }
  assert.equal(isOverdue({ completed: false, due_date: "1999-12-31", due_at: null }), true);
  assert.equal(isOverdue({ completed: false, due_date: "9999-12-31", due_at: null }), false);
});
