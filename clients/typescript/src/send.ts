import { DocketNetworkError } from "./errors.js";
import { judge, pause, reads, repeatable, type Outcome, type Retry } from "./retry.js";
import { abortable, sleep } from "./signals.js";
import type { Tokens } from "./tokens.js";
import type { Fetch } from "./types.js";

export interface Sending {
  fetch: Fetch;
  tokens: Tokens;
  retry: Retry;
  /** Collects the answers to requests that may have been executed whatever the answer says. */
  doubtful: WeakSet<Response>;
}

/**
 * The way of every request: the token goes on, a refused one is renewed once, and what may be repeated is repeated. It
 * throws DocketNetworkError when no answer can be had, what `getToken` throws, and the signal's reason when aborted.
 */
export function sender(sending: Sending): Fetch {
  const { totalMs } = sending.retry;
  return async (request) => {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new DOMException(`no answer in ${totalMs} ms`, "TimeoutError")), totalMs);
    try {
      return await attempts(sending, request, AbortSignal.any([request.signal, late.signal]));
    } finally {
      clearTimeout(timer);
    }
  };
}

async function attempts(sending: Sending, request: Request, signal: AbortSignal): Promise<Response> {
  const { fetch, tokens, retry, doubtful } = sending;
  const end = Date.now() + retry.totalMs;
  const mayRepeat = await repeatable(request);
  let maybeDone = false;
  let renewed = false;
  for (let attempt = 1; ; ) {
    const token = needsToken(request) ? await abortable(tokens.get(), request.signal) : undefined;
    const outcome = await tryOnce(fetch, request, token, signal);
    request.signal.throwIfAborted(); // the caller has gone: no error of ours

    if (outcome.response?.status === 401 && token !== undefined) {
      tokens.refuse(token);
      if (!renewed) {
        renewed = true;
        continue;
      }
    }
    const verdict = await judge(outcome);
    maybeDone ||= verdict.maybeDone && !reads(request);
    const wait = pause(retry, attempt, outcome);
    const again = verdict.again && (mayRepeat || !verdict.maybeDone) && attempt < retry.attempts;
    if (!again || Date.now() + wait >= end) {
      if (outcome.response === undefined) {
        throw unreachable(outcome.failure, attempt, maybeDone);
      }
      if (maybeDone) {
        doubtful.add(outcome.response);
      }
      return outcome.response;
    }
    await sleep(wait, request.signal);
    attempt++;
  }
}

/** Only what lies under /api needs a token. A request that brings one keeps it. */
function needsToken(request: Request): boolean {
  return new URL(request.url).pathname.includes("/api/") && !request.headers.has("Authorization");
}

async function tryOnce(
  fetch: Fetch,
  request: Request,
  token: string | undefined,
  signal: AbortSignal,
): Promise<Outcome> {
  const attempt = new Request(request.clone(), { signal }); // a body can be sent just once
  if (token !== undefined) {
    attempt.headers.set("Authorization", `Bearer ${token}`);
  }
  try {
    const response = await fetch(attempt);
    await response.clone().arrayBuffer(); // a body that breaks off is a failure of this attempt
    return { response };
  } catch (failure) {
    return { failure };
  }
}

function unreachable(cause: unknown, attempts: number, outcomeUnknown: boolean): DocketNetworkError {
  const times = attempts === 1 ? "once" : `${attempts} times`;
  return new DocketNetworkError(`Docket could not be reached (tried ${times}).`, { cause, attempts, outcomeUnknown });
}
