import { DocketNetworkError, DocketProblem, isDocketProblem } from "./errors.js";
import type { Raw } from "./client.js";
import type { ListFilters, NewTask, Task, TaskChanges, TaskList, WalkFilters } from "./types.js";

/** For every call. */
export interface CallOptions {
  /** Whose tasks; by default the client's `userId`, or else the `sub` of the token. */
  userId?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface ReadOptions extends CallOptions {
  /** The `etag` of an earlier answer to the same call: `notModified` when nothing changed. */
  ifNoneMatch: string | undefined;
}

export interface ChangeOptions extends CallOptions {
  /** The task's `etag`: the change is made only if nobody else made one since, else `precondition_failed`. */
  ifMatch?: string | undefined;
}

export interface CreateOptions extends CallOptions {
  /** Under one key one task is created, for 24 hours; a random one by default. Give your own to repeat a call later. */
  idempotencyKey?: string | undefined;
}

/** What was asked for, and the tag that names this state of it. */
export interface Found<T> {
  readonly notModified: false;
  readonly data: T;
  readonly etag: string;
}

/** What was asked for is as it was when it had this tag. */
export interface NotModified {
  readonly notModified: true;
  readonly data?: never;
  readonly etag: string;
}

export interface Created extends Found<Task> {
  /** An earlier call with the same key created it, and this is how it was then. */
  readonly replayed: boolean;
}

/**
 * The tasks of one owner. Every call throws DocketProblem, DocketNetworkError, whatever `getToken` throws, or the
 * reason of an aborted signal. The functions need no `this`.
 */
export interface Tasks {
  /** One page. Repeated on every failure that may pass. */
  list(filters?: ListFilters, options?: CallOptions & { ifNoneMatch?: never }): Promise<Found<TaskList>>;
  list(filters: ListFilters | undefined, options: ReadOptions): Promise<Found<TaskList> | NotModified>;

  /** Every page, in order. A task that does not change meanwhile is neither repeated nor missed. */
  pages(filters?: WalkFilters, options?: CallOptions): AsyncGenerator<TaskList, void, undefined>;

  /** Every task, in order, fetched page by page. */
  all(filters?: WalkFilters, options?: CallOptions): AsyncGenerator<Task, void, undefined>;

  /** Repeated on every failure that may pass. */
  get(id: string, options?: CallOptions & { ifNoneMatch?: never }): Promise<Found<Task>>;
  get(id: string, options: ReadOptions): Promise<Found<Task> | NotModified>;

  /** Repeated on every failure that may pass: it has a key, so that there is one task however often it is sent. */
  create(task: NewTask, options?: CreateOptions): Promise<Created>;

  /**
   * Changes the given fields, with PATCH. With `ifMatch` it is repeated on every failure that may pass, otherwise only
   * when it is known that nothing was done.
   */
  update(id: string, changes: TaskChanges, options?: ChangeOptions): Promise<Found<Task>>;

  /** The same with PUT, which despite its name keeps the fields that are not given. */
  replace(id: string, changes: TaskChanges, options?: ChangeOptions): Promise<Found<Task>>;

  /**
   * Sets whether the task is completed, repeated on every failure that may pass. Without a value it toggles, repeated
   * only when it is known that nothing was done.
   */
  complete(id: string, completed?: boolean, options?: ChangeOptions): Promise<Found<Task>>;

  /**
   * Deletes the task for good. Repeated as `update` is. A repetition that finds the task gone, after an attempt whose
   * outcome is unknown, is a success.
   */
  delete(id: string, options?: ChangeOptions): Promise<void>;
}

/** The operations on `raw`, with `owner` to say whose tasks, and `doubtful` to know answers that may hide a change. */
export function tasksOf(
  raw: Raw,
  owner: (options: CallOptions) => Promise<string>,
  doubtful: WeakSet<Response>,
): Tasks {
  const collection = "/api/{user_id}/tasks";
  const item = "/api/{user_id}/tasks/{task_id}";

  async function at(id: string, options: CallOptions): Promise<{ user_id: string; task_id: string }> {
    return { user_id: await owner(options), task_id: id };
  }

  /** Waits for a call's answer, and throws what it says instead of a success. */
  async function settled<T>(call: Promise<Answer<T>>, maybeDone: boolean): Promise<Settled<T>> {
    const { data, error, response } = await readable(call, maybeDone);
    if (!response.ok && response.status !== 304) {
      throw new DocketProblem(response, error, doubtful.has(response));
    }
    return { data: data as T, response };
  }

  async function read<T>(call: Promise<Answer<T>>): Promise<Found<T> | NotModified> {
    const answer = await settled(call, false);
    return answer.response.status === 304 ? { notModified: true, etag: etagOf(answer.response) } : found(answer);
  }

  async function write<T>(call: Promise<Answer<T>>): Promise<Found<T>> {
    return found(await settled(call, true));
  }

  async function list(filters: ListFilters = {}, options: CallOptions & { ifNoneMatch?: string | undefined } = {}) {
    const params = {
      path: { user_id: await owner(options) },
      query: given(filters),
      header: given({ "If-None-Match": options.ifNoneMatch }),
    };
    return read(raw.GET(collection, { params, ...signalOf(options) }));
  }

  async function get(id: string, options: CallOptions & { ifNoneMatch?: string | undefined } = {}) {
    const params = { path: await at(id, options), header: given({ "If-None-Match": options.ifNoneMatch }) };
    return read(raw.GET(item, { params, ...signalOf(options) }));
  }

  async function change(id: string, options: ChangeOptions) {
    const params = { path: await at(id, options), header: given({ "If-Match": options.ifMatch }) };
    return { params, ...signalOf(options) };
  }

  const tasks: Tasks = {
    list: list as Tasks["list"], // without ifNoneMatch there is no 304
    get: get as Tasks["get"],

    async *pages(filters = {}, options = {}) {
      for (let cursor: string | undefined; ; ) {
        const { data }: Found<TaskList> = await tasks.list({ ...filters, cursor }, options);
        yield data;
        if (data.next_cursor === null) {
          return;
        }
        cursor = data.next_cursor;
      }
    },

    async *all(filters, options) {
      for await (const page of tasks.pages(filters, options)) {
        yield* page.tasks;
      }
    },

    async create(task, options = {}) {
      const params = {
        path: { user_id: await owner(options) },
        header: given({ "Idempotency-Key": options.idempotencyKey }),
      };
      const answer = await settled(raw.POST(collection, { params, body: task, ...signalOf(options) }), true);
      return { ...found(answer), replayed: answer.response.headers.get("Idempotent-Replayed") === "true" };
    },

    async update(id, changes, options = {}) {
      return write(raw.PATCH(item, { ...(await change(id, options)), body: changes }));
    },

    async replace(id, changes, options = {}) {
      return write(raw.PUT(item, { ...(await change(id, options)), body: changes }));
    },

    async complete(id, completed, options = {}) {
      const body = completed === undefined ? {} : { body: { completed } };
      return write(raw.PATCH(`${item}/complete`, { ...(await change(id, options)), ...body }));
    },

    async delete(id, options = {}) {
      try {
        await settled(raw.DELETE(item, await change(id, options)), true);
      } catch (error) {
        if (!(isDocketProblem(error, "task_not_found") && error.outcomeUnknown)) {
          throw error;
        }
      }
    },
  };
  return tasks;
}

/** What openapi-fetch gives. */
interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

interface Settled<T> {
  data: T;
  response: Response;
}

/** A success without JSON does not come from Docket: it is the login page of some network, say. */
async function readable<T>(call: Promise<Answer<T>>, maybeDone: boolean): Promise<Answer<T>> {
  let cause: unknown;
  try {
    const answer = await call;
    if (answer.data !== undefined || !answer.response.ok || answer.response.status === 204) {
      return answer;
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) {
      throw error;
    }
    cause = error;
  }
  const message = "The answer is no JSON, so it is not Docket's.";
  throw new DocketNetworkError(message, { cause, attempts: 1, outcomeUnknown: maybeDone });
}

function found<T>({ data, response }: Settled<T>): Found<T> {
  return { notModified: false, data, etag: etagOf(response) };
}

function etagOf(response: Response): string {
  return response.headers.get("ETag") ?? "";
}

function signalOf({ signal }: CallOptions): { signal?: AbortSignal } {
  return given({ signal });
}

/** The object without what is undefined, as the generated types want it. */
function given<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as never;
}
