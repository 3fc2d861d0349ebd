import {
  defined,
  given,
  pagesOf,
  segment,
  type CallOptions,
  type ChangeOptions,
  type Core,
  type Created,
  type CreateOptions,
  type NotModified,
  type ReadOptions,
  type Result,
} from "./core.js";
import { today } from "./days.js";
import { isDocketProblem } from "./errors.js";
import type { RetryRule } from "./retry.js";
import type { components, operations } from "./schema.gen.js";
import type { Loose, OneOf } from "./types.js";

type Schemas = components["schemas"];

export type Task = Schemas["Task"];
/** One page of tasks. */
export type TaskList = Schemas["TaskList"];
export type Priority = Schemas["Priority"];
/** The days on which a recurring task will be due. */
export type OccurrenceList = Schemas["OccurrenceList"];

/** The properties of a new task. Only `title` is required. */
export type NewTask<Given extends string = never> = Pick<Schemas["NewTask"], "title"> &
  Chosen<Loose<Schemas["NewTask"]>, Given>;

/**
 * The properties to change, at least one. The others keep their values. `description: null` clears the description. A
 * whole task is accepted: `etag` makes the change conditional, and what clients cannot change is ignored.
 */
export type TaskChanges<Given extends string = never> = Chosen<Loose<Schemas["TaskChanges"]>, Given>;

type Chosen<T, Given extends string> = Omit<T, "priority" | "recurrence_mode" | "recurrence_pattern"> & {
  priority?: OneOf<Priority, Given> | undefined;
  /** By default `skip_missed`. A task that was read may have one that is newer than these types. */
  recurrence_mode?: Schemas["RecurrenceModeInput"] | (string & {}) | undefined;
  recurrence_pattern?: OneOf<Schemas["RecurrencePattern"], Given> | undefined;
};

type Query = NonNullable<operations["listTasks"]["parameters"]["query"]>;

/**
 * The parameters of a list. Those that are empty, as in a form or a URL, are left out. `sort_by` and `tags`, aliases of
 * `sort` and `tag` for existing frontends, are available through `raw` only.
 */
export type ListFilters<Given extends string = never> = {
  [K in Exclude<keyof Query, "sort_by" | "tags">]?: Parameter<NonNullable<Query[K]>, Given> | "" | null | undefined;
};

type Parameter<T, Given extends string> = T extends readonly (infer Item extends string)[]
  ? OneOf<Item, Given> | readonly (OneOf<Item, Given> | "")[]
  : string extends T
    ? T
    : T extends string
      ? OneOf<T, Given>
      : T;

/** The parameters of a list that is read to its end. */
export type IterationFilters<Given extends string = never> = Omit<ListFilters<Given>, "cursor" | "offset">;

export interface CompleteOptions extends ChangeOptions {
  /**
   * The day it is where the owner is; by default that of the browser or of Node.js. The next occurrence of a task without
   * a `time_zone` depends on it.
   */
  today?: string | undefined;
}

/**
 * The tasks of one owner. Every method throws DocketProblem, DocketNetworkError, what `getToken` throws, or the reason
 * of an aborted signal, and TypeError for an id that is empty, `.` or `..`. The methods do not use `this`, so they can be
 * passed as functions.
 */
export interface Tasks {
  /** Returns one page. It is retried after every temporary failure. */
  list<Given extends string = never>(
    filters?: ListFilters<Given>,
    options?: CallOptions & { ifNoneMatch?: never },
  ): Promise<Result<TaskList>>;
  list<Given extends string = never>(
    filters: ListFilters<Given> | undefined,
    options: ReadOptions,
  ): Promise<Result<TaskList> | NotModified>;

  /** Yields all pages in order. A task that does not change in the meantime is neither repeated nor missed. */
  pages<Given extends string = never>(
    filters?: IterationFilters<Given>,
    options?: CallOptions,
  ): AsyncGenerator<TaskList, void, undefined>;

  /** Yields all tasks in order, requesting one page after the other. */
  all<Given extends string = never>(
    filters?: IterationFilters<Given>,
    options?: CallOptions,
  ): AsyncGenerator<Task, void, undefined>;

  /** It is retried after every temporary failure. */
  get(id: string, options?: CallOptions & { ifNoneMatch?: never }): Promise<Result<Task>>;
  get(id: string, options: ReadOptions): Promise<Result<Task> | NotModified>;

  /** It is retried after every temporary failure, with the same idempotency key, so that only one task is created. */
  create<Given extends string = never>(task: NewTask<Given>, options?: CreateOptions): Promise<Created<Task>>;

  /**
   * Changes the given properties with PATCH. With `ifMatch` or an `etag` among the properties, as in
   * `update(task.id, { ...task, title })`, it fails with `precondition_failed` if the task has changed since. Then it is
   * retried after every temporary failure, and otherwise only if it is certain that nothing was changed.
   */
  update<Given extends string = never>(
    id: string,
    changes: TaskChanges<Given>,
    options?: ChangeOptions,
  ): Promise<Result<Task>>;

  /** The same with PUT, which also keeps the properties that are not given. */
  replace<Given extends string = never>(
    id: string,
    changes: TaskChanges<Given>,
    options?: ChangeOptions,
  ): Promise<Result<Task>>;

  /**
   * Sets whether the task is completed. It is retried after every temporary failure. Without a value it toggles, and is
   * retried only if it is certain that nothing was changed. If the task recurs, `next_task_id` of the result names the next
   * occurrence.
   */
  complete(id: string, completed?: boolean, options?: CompleteOptions): Promise<Result<Task>>;

  /**
   * Moves a recurring task to the next day of its rule. `occurrenceDate` is the `occurrence_date` of the task as it was
   * read, so that repeating the call skips nothing more. It is retried after every temporary failure.
   */
  skip(id: string, occurrenceDate: string, options?: ChangeOptions): Promise<Result<Task>>;

  /** Returns the next days of a recurring task, by default 10. It is retried after every temporary failure. */
  occurrences(
    id: string,
    parameters?: { limit?: number | undefined },
    options?: CallOptions & { ifNoneMatch?: never },
  ): Promise<Result<OccurrenceList>>;
  occurrences(
    id: string,
    parameters: { limit?: number | undefined } | undefined,
    options: ReadOptions,
  ): Promise<Result<OccurrenceList> | NotModified>;

  /**
   * Deletes the task permanently. It is retried like `update`. If a retry does not find the task after an attempt with
   * unknown outcome, the deletion succeeded.
   */
  delete(id: string, options?: ChangeOptions): Promise<void>;
}

/**
 * Setting `completed` is idempotent. Toggling is not, not even with If-Match: after an attempt with unknown outcome, a
 * 412 would not reveal which client changed the task. Skipping names the occurrence, so that it is skipped once.
 */
export const taskRetryRules: readonly RetryRule[] = [
  {
    path: /\/tasks\/[^/]+\/complete$/,
    isIdempotent: (body) => typeof (body as { completed?: unknown } | undefined | null)?.completed === "boolean",
  },
  { path: /\/tasks\/[^/]+\/skip$/, isIdempotent: () => true },
];

export function tasksOf(core: Core): Tasks {
  const { raw } = core;
  const collection = "/api/{user_id}/tasks";
  const item = "/api/{user_id}/tasks/{task_id}";

  async function list(filters: ListFilters = {}, options: CallOptions & { ifNoneMatch?: string | undefined } = {}) {
    const { signal, ifNoneMatch } = options;
    const path = { user_id: await core.owner(options) };
    const params = { path, query: given(filters) as Query, header: defined({ "If-None-Match": ifNoneMatch }) };
    return core.read(raw.GET(collection, { params, ...defined({ signal }) }));
  }

  async function readOf(id: string, options: CallOptions & { ifNoneMatch?: string | undefined }) {
    const { signal, ifNoneMatch } = options;
    const path = { user_id: await core.owner(options), task_id: segment(id, "id of a task") };
    return { params: { path, header: defined({ "If-None-Match": ifNoneMatch }) }, ...defined({ signal }) };
  }

  async function get(id: string, options: CallOptions & { ifNoneMatch?: string | undefined } = {}) {
    return core.read(raw.GET(item, await readOf(id, options)));
  }

  async function occurrences(
    id: string,
    parameters: { limit?: number | undefined } = {},
    options: CallOptions & { ifNoneMatch?: string | undefined } = {},
  ) {
    const { params, ...init } = await readOf(id, options);
    const query = given(parameters) as { limit?: number };
    return core.read(raw.GET(`${item}/occurrences`, { params: { ...params, query }, ...init }));
  }

  async function changeOf(id: string, options: ChangeOptions) {
    const { signal, ifMatch } = options;
    const path = { user_id: await core.owner(options), task_id: segment(id, "id of a task") };
    return { params: { path, header: defined({ "If-Match": ifMatch }) }, ...defined({ signal }) };
  }

  const tasks: Tasks = {
    list: list as Tasks["list"], // there is no 304 without ifNoneMatch
    get: get as Tasks["get"],
    occurrences: occurrences as Tasks["occurrences"],

    pages(filters = {}, options = {}) {
      return pagesOf((cursor) => tasks.list({ ...filters, cursor }, options));
    },

    async *all(filters, options) {
      for await (const page of tasks.pages(filters, options)) {
        yield* page.tasks;
      }
    },

    async create(task, options = {}) {
      const { signal, idempotencyKey } = options;
      const path = { user_id: await core.owner(options) };
      const params = { path, header: defined({ "Idempotency-Key": idempotencyKey }) };
      return core.create(raw.POST(collection, { params, body: defined(task) as Schemas["NewTask"], ...defined({ signal }) }));
    },

    async update(id, changes, options = {}) {
      return core.change(raw.PATCH(item, { ...(await changeOf(id, options)), body: defined(changes) as Schemas["TaskChanges"] }));
    },

    async replace(id, changes, options = {}) {
      return core.change(raw.PUT(item, { ...(await changeOf(id, options)), body: defined(changes) as Schemas["TaskChanges"] }));
    },

    async complete(id, completed, options = {}) {
      const change = await changeOf(id, options);
      const send = (day?: string) =>
        core.change(raw.PATCH(`${item}/complete`, { ...change, body: defined({ completed, today: day }) }));
      if (completed === false || options.today !== undefined) {
        return send(options.today);
      }
      try {
        return await send(today());
      } catch (error) {
        const isRefused = isDocketProblem(error, "validation_failed") && error.errors.some((f) => f.pointer === "#/today");
        if (!isRefused) {
          throw error;
        }
        return send(); // the clock of this device is wrong by a day or more
      }
    },

    async skip(id, occurrenceDate, options = {}) {
      const body = { occurrence_date: occurrenceDate };
      return core.change(raw.POST(`${item}/skip`, { ...(await changeOf(id, options)), body }));
    },

    async delete(id, options = {}) {
      return core.delete(raw.DELETE(item, await changeOf(id, options)), "task_not_found");
    },
  };
  return tasks;
}
