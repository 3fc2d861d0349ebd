import { retryAfterOf } from "./retry-after.js";

export interface RetryOptions {
  /** The maximum number of attempts, including the first; by default 3. */
  attempts?: number | undefined;
  /** The time limit of a call in milliseconds, including delays but not `getToken`; by default 30,000. */
  totalMs?: number | undefined;
  /** The delay before the nth retry is random, with the maximum `baseMs * 2 ** (n - 1)`; by default 200. */
  baseMs?: number | undefined;
  /** The limit of that maximum, by default 5,000. The delay of a `Retry-After` header is added to it. */
  maxMs?: number | undefined;
}

export type Retry = { [K in keyof RetryOptions]-?: number };

export function retryOf(options: RetryOptions = {}): Retry {
  const { attempts = 3, totalMs = 30_000, baseMs = 200, maxMs = 5_000 } = options;
  return { attempts, totalMs, baseMs, maxMs };
}

/** A rule that decides whether changes to matching paths are idempotent. It takes precedence over tags and keys. */
export interface RetryRule {
  path: RegExp;
  /** The body is undefined if there is none or it is not JSON. */
  isIdempotent(body: unknown): boolean;
}

export function ruleOf(url: string, rules: readonly RetryRule[]): RetryRule | undefined {
  const { pathname } = new URL(url);
  return rules.find(({ path }) => path.test(pathname));
}

/** The outcome of an attempt: a response, or the reason why there is none. */
export type Outcome = { response: Response; failure?: never } | { response?: never; failure: unknown };

export interface Verdict {
  /** The failure may be temporary. */
  retry: boolean;
  /** The request may have been executed. */
  maybeExecuted: boolean;
}

/** Codes of 503 that the service returns only before it does anything, or after it has rolled everything back. */
const notExecuted = new Set(["unavailable", "overloaded", "not_ready"]);

/**
 * Classifies an outcome. A request may have been executed unless the response proves that it was not: the connection
 * may have been lost afterwards, and the response may come from a gateway.
 */
export async function classify({ response }: Outcome): Promise<Verdict> {
  if (response === undefined) {
    return { retry: true, maybeExecuted: true };
  }
  switch (response.status) {
    case 429:
      return { retry: true, maybeExecuted: false };
    case 503:
      return { retry: true, maybeExecuted: !notExecuted.has(await codeOf(response)) };
    case 502: // returned by gateways whose connection to the service was lost
    case 504:
      return { retry: true, maybeExecuted: true };
  }
  return { retry: false, maybeExecuted: response.status >= 500 };
}

async function codeOf(response: Response): Promise<string> {
  try {
    const { code } = (await response.clone().json()) as { code?: unknown };
    return String(code);
  } catch {
    return ""; // not a problem document
  }
}

export function isRead(request: Request): boolean {
  return request.method === "GET" || request.method === "HEAD";
}

/**
 * Reports whether a request may be sent again although it may have been executed. Unless a rule applies to its path, it
 * may if it
 *
 * - is a read;
 * - is a POST with an Idempotency-Key, which the service executes once;
 * - has a tag in If-Match or in its body, which the first execution makes stale. `*` does not name a state, so it never
 *   is.
 *
 * Other changes may not: the second execution could undo a change that was made in between.
 */
export async function isIdempotent(request: Request, rules: readonly RetryRule[]): Promise<boolean> {
  if (isRead(request)) {
    return true;
  }
  const rule = ruleOf(request.url, rules);
  if (rule !== undefined) {
    return rule.isIdempotent(await bodyOf(request));
  }
  if (request.method === "POST") {
    return request.headers.has("Idempotency-Key");
  }
  const body = await bodyOf(request);
  const { etag } = (body ?? {}) as { etag?: unknown };
  return [request.headers.get("If-Match"), etag].some((tag) => typeof tag === "string" && /^(W\/)?"/.test(tag));
}

async function bodyOf(request: Request): Promise<unknown> {
  try {
    return await request.clone().json();
  } catch {
    return undefined;
  }
}

/** Returns the milliseconds to wait after an attempt: a random delay in addition to that of a `Retry-After` header. */
export function delayAfter(retry: Retry, attempt: number, { response }: Outcome, random = Math.random()): number {
  const retryAfter = response === undefined ? 0 : (retryAfterOf(response.headers) ?? 0) * 1000;
  return retryAfter + random * Math.min(retry.maxMs, retry.baseMs * 2 ** (attempt - 1));
}
