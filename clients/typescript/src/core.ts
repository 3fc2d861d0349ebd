import type { Client } from "openapi-fetch";
import { originalTags } from "./entity-tag.js";
import { DocketNetworkError, DocketProblem, isDocketProblem, type ProblemCode } from "./errors.js";
import type { paths } from "./schema.gen.js";
import { abortable } from "./signals.js";
import { subjectOf, type Tokens } from "./tokens.js";

/** The openapi-fetch client for all operations of the document. */
export type Raw = Client<paths, `${string}/${string}`>;

/** Options of every call. */
export interface CallOptions {
  /** The owner of the resource; by default the client's `userId`, or else the `sub` of the token. */
  userId?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface ReadOptions extends CallOptions {
  /** The `etag` of an earlier result of the same call. The result is `notModified` if nothing has changed since. */
  ifNoneMatch: string | undefined;
}

export interface ChangeOptions extends CallOptions {
  /** The `etag` of the resource. The call fails with `precondition_failed` if the resource has changed since. */
  ifMatch?: string | undefined;
}

export interface CreateOptions extends CallOptions {
  /**
   * Calls with the same key create only one resource within 24 hours. The default is a random key. Pass your own to be
   * able to repeat the call later.
   */
  idempotencyKey?: string | undefined;
}

/** A response body, and the entity tag of the state that it shows. */
export interface Result<T> {
  readonly notModified: false;
  readonly data: T;
  readonly etag: string;
}

/** The resource still has the state that `ifNoneMatch` names. */
export interface NotModified {
  readonly notModified: true;
  readonly data?: never;
  readonly etag: string;
}

export interface Created<T> extends Result<T> {
  /** An earlier call with the same key created the resource. `data` shows its state at that time. */
  readonly replayed: boolean;
}

/** The result of a call of openapi-fetch. */
interface FetchResult<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The part of the client that all resources share. It turns responses into results and errors. */
export class Core {
  constructor(
    readonly raw: Raw,
    private readonly tokens: Tokens,
    private readonly userId: string | undefined,
    /** The responses to changes that may have been made even if the response is an error. */
    private readonly uncertain: WeakSet<Response>,
  ) {}

  /** Returns the owner for a call. */
  async owner(options: CallOptions): Promise<string> {
    return options.userId ?? this.userId ?? subjectOf(await abortable(this.tokens.get(), options.signal));
  }

  async read<T>(call: Promise<FetchResult<T>>): Promise<Result<T> | NotModified> {
    const fetched = await this.succeeded(call, false);
    return fetched.response.status === 304 ? { notModified: true, etag: etagOf(fetched.response) } : resultOf(fetched);
  }

  async change<T>(call: Promise<FetchResult<T>>): Promise<Result<T>> {
    return resultOf(await this.succeeded(call, true));
  }

  async create<T>(call: Promise<FetchResult<T>>): Promise<Created<T>> {
    const fetched = await this.succeeded(call, true);
    return { ...resultOf(fetched), replayed: fetched.response.headers.get("Idempotent-Replayed") === "true" };
  }

  /** Awaits a deletion. A resource that is not found after an attempt with unknown outcome counts as deleted. */
  async delete(call: Promise<FetchResult<unknown>>, notFound: ProblemCode): Promise<void> {
    try {
      await this.succeeded(call, true);
    } catch (error) {
      if (!(isDocketProblem(error, notFound) && error.outcomeUnknown)) {
        throw error;
      }
    }
  }

  /** Awaits a response and throws DocketProblem unless it is a success or 304. */
  private async succeeded<T>(call: Promise<FetchResult<T>>, isChange: boolean): Promise<FetchResult<T>> {
    const fetched = await parsed(call, isChange);
    const { error, response } = fetched;
    if (!response.ok && response.status !== 304) {
      throw new DocketProblem(response, error, this.uncertain.has(response));
    }
    return fetched;
  }
}

/** Yields all pages of a list, following the cursors. */
export async function* pagesOf<Page extends { next_cursor: string | null }>(
  list: (cursor: string | undefined) => Promise<Result<Page>>,
): AsyncGenerator<Page, void, undefined> {
  for (let cursor: string | undefined; ; ) {
    const { data }: Result<Page> = await list(cursor);
    yield data;
    if (data.next_cursor === null) {
      return;
    }
    cursor = data.next_cursor;
  }
}

/** Refuses text that would be no segment of a path, so that the request would have the path of something else. */
export function segment(text: string, what: string): string {
  if (["", ".", ".."].includes(text)) {
    throw new TypeError(`The ${what} must not be "${text}".`);
  }
  return text;
}

/** Returns the object without undefined properties, which the generated types do not allow. */
export function defined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as never;
}

/** Returns the parameters that are not empty. An empty form or URL must not be refused, nor filter. */
export function given(parameters: object): object {
  const isEmpty = (value: unknown) => value === undefined || value === null || value === "";
  const entries = Object.entries(parameters).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.filter((item) => !isEmpty(item)) : value,
  ]);
  return Object.fromEntries(entries.filter(([, value]) => !isEmpty(value)));
}

/** Throws DocketNetworkError for a success without JSON, which a captive portal may return, for example. */
async function parsed<T>(call: Promise<FetchResult<T>>, isChange: boolean): Promise<FetchResult<T>> {
  let cause: unknown;
  try {
    const fetched = await call;
    if (fetched.data !== undefined || !fetched.response.ok || fetched.response.status === 204) {
      return fetched;
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) {
      throw error;
    }
    cause = error;
  }
  const message = "The response is not JSON, so it was not sent by Docket.";
  throw new DocketNetworkError(message, { cause, attempts: 1, outcomeUnknown: isChange });
}

function resultOf<T>({ data, response }: FetchResult<T>): Result<T> {
  return { notModified: false, data: data as T, etag: etagOf(response) };
}

function etagOf(response: Response): string {
  return originalTags(response.headers.get("ETag") ?? "");
}
