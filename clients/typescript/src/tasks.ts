import {
  defined,
  pagesOf,
  type CallOptions,
  type ChangeOptions,
  type Core,
  type Created,
  type CreateOptions,
  type NotModified,
  type ReadOptions,
  type Result,
} from "./core.js";
import type { RetryRule } from "./retry.js";
import type { components, operations } from "./schema.gen.js";
import type { Loose } from "./types.js";

type Schemas = components["schemas"];

export type Task = Schemas["Task"];
/** The properties of a new task. Only `title` is required. */
export type NewTask = Schemas["NewTask"];
/** The properties to change, at least one. The others keep their values. `description: null` clears the description. */
export type TaskChanges = Schemas["TaskChanges"];
/** One page of tasks. */
export type TaskList = Schemas["TaskList"];
export type Priority = Schemas["Priority"];

type Query = NonNullable<operations["listTasks"]["parameters"]["query"]>;

/** The parameters of a list. `sort_by`, an alias of `sort` for existing frontends, is available through `raw` only. */
export type ListFilters = Loose<Omit<Query, "sort_by">>;

/** The parameters of a list that is read to its end. */
export type IterationFilters = Omit<ListFilters, "cursor" | "offset">;

/**
 * The tasks of one owner. Every method throws DocketProblem, DocketNetworkError, what `getToken` throws, or the reason
 * of an aborted signal. The methods do not use `this`, so they can be passed as functions.
 */
export interface Tasks {
  /** Returns one page. It is retried after every temporary failure. */
  list(filters?: ListFilters, options?: CallOptions & { ifNoneMatch?: never }): Promise<Result<TaskList>>;
  list(filters: ListFilters | undefined, options: ReadOptions): Promise<Result<TaskList> | NotModified>;

  /** Yields all pages in order. A task that does not change in the meantime is neither repeated nor missed. */
  pages(filters?: IterationFilters, options?: CallOptions): AsyncGenerator<TaskList, void, undefined>;

  /** Yields all tasks in order, requesting one page after the other. */
  all(filters?: IterationFilters, options?: CallOptions): AsyncGenerator<Task, void, undefined>;

  /** It is retried after every temporary failure. */
  get(id: string, options?: CallOptions & { ifNoneMatch?: never }): Promise<Result<Task>>;
  get(id: string, options: ReadOptions): Promise<Result<Task> | NotModified>;

  /** It is retried after every temporary failure, with the same idempotency key, so that only one task is created. */
  create(task: NewTask, options?: CreateOptions): Promise<Created<Task>>;

  /**
   * Changes the given properties with PATCH. With `ifMatch` it is retried after every temporary failure, and otherwise
   * only if it is certain that nothing was changed.
   */
  update(id: string, changes: TaskChanges, options?: ChangeOptions): Promise<Result<Task>>;

  /** The same with PUT, which also keeps the properties that are not given. */
  replace(id: string, changes: TaskChanges, options?: ChangeOptions): Promise<Result<Task>>;

  /**
   * Sets whether the task is completed. It is retried after every temporary failure. Without a value it toggles, and is
   * retried only if it is certain that nothing was changed.
   */
  complete(id: string, completed?: boolean, options?: ChangeOptions): Promise<Result<Task>>;

  /**
   * Deletes the task permanently. It is retried like `update`. If a retry does not find the task after an attempt with
   * unknown outcome, the deletion succeeded.
   */
  delete(id: string, options?: ChangeOptions): Promise<void>;
}

/**
 * Setting `completed` is idempotent. Toggling is not, not even with If-Match: after an attempt with unknown outcome, a
 * 412 would not reveal which client changed the task.
 */
export const taskRetryRules: readonly RetryRule[] = [
  {
    path: /\/tasks\/[^/]+\/complete$/,
    isIdempotent: (body) => typeof (body as { completed?: unknown } | undefined | null)?.completed === "boolean",
  },
];

export function tasksOf(core: Core): Tasks {
  const { raw } = core;
  const collection = "/api/{user_id}/tasks";
  const item = "/api/{user_id}/tasks/{task_id}";

  async function list(filters: ListFilters = {}, options: CallOptions & { ifNoneMatch?: string | undefined } = {}) {
    const { signal, ifNoneMatch } = options;
    const path = { user_id: await core.owner(options) };
    const params = { path, query: defined(filters), header: defined({ "If-None-Match": ifNoneMatch }) };
    return core.read(raw.GET(collection, { params, ...defined({ signal }) }));
  }

  async function get(id: string, options: CallOptions & { ifNoneMatch?: string | undefined } = {}) {
    const { signal, ifNoneMatch } = options;
    const path = { user_id: await core.owner(options), task_id: id };
    const params = { path, header: defined({ "If-None-Match": ifNoneMatch }) };
    return core.read(raw.GET(item, { params, ...defined({ signal }) }));
  }

  async function changeOf(id: string, options: ChangeOptions) {
    const { signal, ifMatch } = options;
    const path = { user_id: await core.owner(options), task_id: id };
    return { params: { path, header: defined({ "If-Match": ifMatch }) }, ...defined({ signal }) };
  }

  const tasks: Tasks = {
    list: list as Tasks["list"], // there is no 304 without ifNoneMatch
    get: get as Tasks["get"],

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
      return core.create(raw.POST(collection, { params, body: task, ...defined({ signal }) }));
    },

    async update(id, changes, options = {}) {
      return core.change(raw.PATCH(item, { ...(await changeOf(id, options)), body: changes }));
    },

    async replace(id, changes, options = {}) {
      return core.change(raw.PUT(item, { ...(await changeOf(id, options)), body: changes }));
    },

    async complete(id, completed, options = {}) {
      const body = completed === undefined ? {} : { body: { completed } };
      return core.change(raw.PATCH(`${item}/complete`, { ...(await changeOf(id, options)), ...body }));
    },

    async delete(id, options = {}) {
      return core.delete(raw.DELETE(item, await changeOf(id, options)), "task_not_found");
    },
  };
  return tasks;
}
