import {
  defined,
  given,
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
import type { Loose, OneOf } from "./types.js";

type Schemas = components["schemas"];

export type Task = Schemas["Task"];
/** One page of tasks. */
export type TaskList = Schemas["TaskList"];
export type Priority = Schemas["Priority"];

/** The properties of a new task. Only `title` is required. */
export type NewTask<Given extends string = never> = Pick<Schemas["NewTask"], "title"> &
  Prioritized<Loose<Schemas["NewTask"]>, Given>;

/**
 * The properties to change, at least one. The others keep their values. `description: null` clears the description. A
 * whole task is accepted: `etag` makes the change conditional, and what clients cannot change is ignored.
 */
export type TaskChanges<Given extends string = never> = Prioritized<Loose<Schemas["TaskChanges"]>, Given>;

type Prioritized<T, Given extends string> = Omit<T, "priority"> & { priority?: OneOf<Priority, Given> | undefined };

type Query = NonNullable<operations["listTasks"]["parameters"]["query"]>;

/**
 * The parameters of a list. Those that are empty, as in a form or a URL, are left out. `sort_by`, an alias of `sort` for
 * existing frontends, is available through `raw` only.
 */
export type ListFilters<Given extends string = never> = {
  [K in Exclude<keyof Query, "sort_by">]?: Parameter<NonNullable<Query[K]>, Given> | "" | null | undefined;
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

/**
 * The tasks of one owner. Every method throws DocketProblem, DocketNetworkError, what `getToken` throws, or the reason
 * of an aborted signal, and TypeError for an empty id. The methods do not use `this`, so they can be passed as functions.
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

/** Refuses an empty id. Its path would be that of the list with a slash at the end, which the service accepts. */
function notEmpty(id: string): string {
  if (id === "") {
    throw new TypeError("The id of a task must not be empty.");
  }
  return id;
}

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

  async function get(id: string, options: CallOptions & { ifNoneMatch?: string | undefined } = {}) {
    const { signal, ifNoneMatch } = options;
    const path = { user_id: await core.owner(options), task_id: notEmpty(id) };
    const params = { path, header: defined({ "If-None-Match": ifNoneMatch }) };
    return core.read(raw.GET(item, { params, ...defined({ signal }) }));
  }

  async function changeOf(id: string, options: ChangeOptions) {
    const { signal, ifMatch } = options;
    const path = { user_id: await core.owner(options), task_id: notEmpty(id) };
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
      return core.create(raw.POST(collection, { params, body: defined(task) as Schemas["NewTask"], ...defined({ signal }) }));
    },

    async update(id, changes, options = {}) {
      return core.change(raw.PATCH(item, { ...(await changeOf(id, options)), body: defined(changes) as Schemas["TaskChanges"] }));
    },

    async replace(id, changes, options = {}) {
      return core.change(raw.PUT(item, { ...(await changeOf(id, options)), body: defined(changes) as Schemas["TaskChanges"] }));
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
