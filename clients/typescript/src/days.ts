import type { Task } from "./tasks.js";

// Days where the clock is. A zone is a name of the IANA time zone database, such as "Europe/Berlin"; without one it is that
// of the browser or of Node.js. An unknown zone is a RangeError.

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

/** Returns the day it is, such as `2026-03-09`. */
export function today(zone?: string, instant = new Date()): string {
  return now(zone, instant).slice(0, "YYYY-MM-DD".length);
}

/**
 * Returns the present instant with the offset of the zone, such as `2026-03-09T17:45:12+01:00`. As `due_before` it selects
 * what is overdue, because the service compares its day with that of tasks without a time.
 */
export function now(zone?: string, instant = new Date()): string {
  const time = wholeSeconds(instant.getTime());
  // The offset of Liberia had seconds until 1972. Rounded up, it keeps the instant and the day.
  const minutes = Math.ceil(offset(time, zone) / minute);
  const twoDigits = (value: number) => String(value).padStart(2, "0");
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const local = new Date(time + minutes * minute).toISOString().slice(0, "YYYY-MM-DDTHH:MM:SS".length);
  return `${local}${minutes < 0 ? "-" : "+"}${twoDigits(hours)}:${twoDigits(rest)}`;
}

/**
 * Returns the instant at which a day begins, with the offset of the zone, such as `2026-03-09T00:00:00+01:00`. Where the
 * clock is set forward at midnight, it is the first instant after. A day that a zone has left out begins with the next one.
 */
export function startOfDay(date: string, zone?: string): string {
  return now(zone, new Date(beginning(midnightUTC(date), zone)));
}

/** Returns the day that is so many days after another one. */
export function addDays(date: string, days: number): string {
  return new Date(midnightUTC(date) + days * 24 * hour).toISOString().slice(0, "YYYY-MM-DD".length);
}

/**
 * Reports whether a task is not completed and should have been: before this instant if it has a time, or before this day
 * of the reader if it has none.
 */
export function isOverdue(
  { completed, due_date, due_at }: Pick<Task, "completed" | "due_date" | "due_at">,
  zone?: string,
  instant = new Date(),
): boolean {
  if (completed || due_date === null) {
    return false;
  }
  return due_at === null ? due_date < today(zone, instant) : Date.parse(due_at) < instant.getTime();
}

/** Returns the first instant whose local time is midnight of a day, which is given in UTC, or after. */
function beginning(midnight: number, zone: string | undefined): number {
  // No zone changes its offset twice within these 32 hours. So midnight has one of two offsets, or is left out.
  const offsets = [offset(midnight - 16 * hour, zone), offset(midnight + 16 * hour, zone)];
  let [before = NaN, after = NaN] = offsets.map((offset) => midnight - offset).sort((a, b) => a - b);
  for (const instant of [before, after]) {
    if (instant + offset(instant, zone) === midnight) {
      return instant;
    }
  }
  while (after - before > second) {
    const middle = wholeSeconds((before + after) / 2);
    if (middle + offset(middle, zone) < midnight) {
      before = middle;
    } else {
      after = middle;
    }
  }
  return after;
}

function midnightUTC(date: string): number {
  const midnight = Date.parse(`${date}T00:00:00Z`);
  if (Number.isNaN(midnight) || new Date(midnight).toISOString() !== `${date}T00:00:00.000Z`) {
    throw new RangeError(`${date} is not a day such as 2026-03-09.`);
  }
  return midnight;
}

function wholeSeconds(time: number): number {
  return Math.floor(time / second) * second;
}

/** Returns how many milliseconds the local time is ahead of UTC at an instant of whole seconds. */
function offset(time: number, zone: string | undefined): number {
  const instant = new Date(time);
  if (zone === undefined) {
    const { year, month, day } = { year: instant.getFullYear(), month: instant.getMonth(), day: instant.getDate() };
    return Date.UTC(year, month, day, instant.getHours(), instant.getMinutes(), instant.getSeconds()) - time;
  }
  const [month = NaN, day, year = NaN, ...clock] = (formatOf(zone).format(instant).match(/\d+/g) ?? []).map(Number);
  return Date.UTC(year, month - 1, day, ...clock) - time;
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** Returns a format such as `3/9/2026, 17:45:12`. Making one costs more than using it. */
function formatOf(timeZone: string): Intl.DateTimeFormat {
  let format = formats.get(timeZone);
  if (format === undefined) {
    const [year, month, day] = ["numeric", "numeric", "numeric"] as const;
    const [hour, minute, second] = ["numeric", "numeric", "numeric"] as const;
    format = new Intl.DateTimeFormat("en-US", { timeZone, hourCycle: "h23", year, month, day, hour, minute, second });
    formats.set(timeZone, format);
  }
  return format;
}
