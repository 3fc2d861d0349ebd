import type { components, operations } from "./schema.gen.js";

type Schemas = components["schemas"];

/** A task as the service has it. */
export type Task = Schemas["Task"];
/** A task to create; only `title` is needed. */
export type NewTask = Schemas["NewTask"];
/** The fields to change, at least one; the others stay. `description: null` clears it. */
export type TaskChanges = Schemas["TaskChanges"];
/** One page of tasks. */
export type TaskList = Schemas["TaskList"];
export type Priority = Schemas["Priority"];
/** A problem document as the service sends it. */
export type Problem = Schemas["Problem"];
/** One fault of a request: at a `pointer` into the body, in a `parameter` or in a `header`. */
export type Fault = Schemas["Fault"];

type Query = NonNullable<operations["listTasks"]["parameters"]["query"]>;

/** The same properties, and undefined is as good as absent: what a form or an address gives can be passed on. */
type Loose<T> = { [K in keyof T]?: T[K] | undefined };

/** What to list. `sort_by`, a second spelling of `sort` for older frontends, is left to `client.raw`. */
export type ListFilters = Loose<Omit<Query, "sort_by">>;

/** What to walk through; the walk has the cursors. */
export type WalkFilters = Omit<ListFilters, "cursor" | "offset">;

/** Sends a request, as the global `fetch` does. */
export type Fetch = (request: Request) => Promise<Response>;
