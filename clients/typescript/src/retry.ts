import { retryAfterOf } from "./retry-after.js";

/** How patiently a call is repeated. */
export interface RetryOptions {
  /** How often a request is sent at most, the first time included: 3. */
  attempts?: number | undefined;
  /** The most milliseconds that a call takes, waiting included but for `getToken`: 30,000. */
  totalMs?: number | undefined;
  /** The wait before the nth repetition is random, at most `baseMs` times 2 to the n-1, and at most `maxMs`: 200. */
  baseMs?: number | undefined;
  /** 5,000. A `Retry-After` counts all the same. */
  maxMs?: number | undefined;
}

export type Retry = { [K in keyof RetryOptions]-?: number };

export function retryOf(options: RetryOptions = {}): Retry {
  const { attempts = 3, totalMs = 30_000, baseMs = 200, maxMs = 5_000 } = options;
  return { attempts, totalMs, baseMs, maxMs };
}

/** What became of one attempt: an answer, or the failure to get one. */
export type Outcome = { response: Response; failure?: never } | { response?: never; failure: unknown };

/** What an outcome says about the next step. */
export interface Verdict {
  /** Another attempt may fare better. */
  again: boolean;
  /** The request may have been executed. */
  maybeDone: boolean;
}

/** The 503s of the service that come before anything is done, or after all of it was rolled back. */
const refusals = new Set(["unavailable", "overloaded", "not_ready"]);

/**
 * Judges an outcome. Where nothing says that the request was not executed, it may have been: the connection broke, or
 * something between answered in the service's place.
 */
export async function judge({ response }: Outcome): Promise<Verdict> {
  if (response === undefined) {
    return { again: true, maybeDone: true };
  }
  switch (response.status) {
    case 429:
      return { again: true, maybeDone: false };
    case 503:
      return { again: true, maybeDone: !refusals.has(await codeOf(response)) };
    case 502: // a gateway's word for a broken connection
    case 504:
      return { again: true, maybeDone: true };
  }
  return { again: false, maybeDone: response.status >= 500 };
}

async function codeOf(response: Response): Promise<string> {
  try {
    const { code } = (await response.clone().json()) as { code?: unknown };
    return String(code);
  } catch {
    return ""; // not the service's words
  }
}

export function reads(request: Request): boolean {
  return request.method === "GET" || request.method === "HEAD";
}

/**
 * Whether a request may be sent again although it may have been executed. It may when a second execution
 *
 * - does nothing: a read;
 * - is one with the first: a create with its Idempotency-Key;
 * - cannot happen: a change with If-Match, since the first execution made its tag stale (`*` is no such tag);
 * - is what the document promises to do no harm: a complete that says true or false.
 *
 * A change without If-Match may not: it could undo what somebody else changed in between. A toggle never may: sent
 * twice it does nothing, and a 412 after it would not say whose change it was.
 */
export async function repeatable(request: Request): Promise<boolean> {
  if (reads(request)) {
    return true;
  }
  if (request.method === "POST") {
    return request.headers.has("Idempotency-Key");
  }
  if (/\/tasks\/[^/]+\/complete$/.test(new URL(request.url).pathname)) {
    return setsCompleted(await request.clone().text());
  }
  return /^(W\/)?"/.test(request.headers.get("If-Match") ?? "");
}

function setsCompleted(body: string): boolean {
  try {
    return typeof (JSON.parse(body) as { completed?: unknown }).completed === "boolean";
  } catch {
    return false; // no body: a toggle
  }
}

/** The milliseconds to wait after an attempt: full jitter, on top of what the answer asks for. */
export function pause(retry: Retry, attempt: number, { response }: Outcome, random = Math.random()): number {
  const asked = response === undefined ? 0 : (retryAfterOf(response.headers) ?? 0) * 1000;
  return asked + random * Math.min(retry.maxMs, retry.baseMs * 2 ** (attempt - 1));
}
