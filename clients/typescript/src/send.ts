import { DocketNetworkError } from "./errors.js";
import { classify, delayAfter, isIdempotent, isRead, type Outcome, type Retry, type RetryRule } from "./retry.js";
import { abortable, sleep } from "./signals.js";
import type { Tokens } from "./tokens.js";
import type { Fetch } from "./types.js";

export interface SenderOptions {
  fetch: Fetch;
  tokens: Tokens;
  retry: Retry;
  rules: readonly RetryRule[];
  /** Receives the responses to changes that may have been made even if the response is an error. */
  uncertain: WeakSet<Response>;
}

/**
 * Returns a function that sends a request with a token, renews a refused token once, and retries the request if that is
 * safe. The function throws DocketNetworkError if there is no response, what `getToken` throws, and the reason of an
 * aborted signal.
 */
export function sender(options: SenderOptions): Fetch {
  const { totalMs } = options.retry;
  return async (request) => {
    const timeout = new AbortController();
    const timer = setTimeout(() => {
      timeout.abort(new DOMException(`no response within ${totalMs} ms`, "TimeoutError"));
    }, totalMs);
    try {
      return await send(options, request, AbortSignal.any([request.signal, timeout.signal]));
    } finally {
      clearTimeout(timer);
    }
  };
}

async function send(options: SenderOptions, request: Request, signal: AbortSignal): Promise<Response> {
  const { fetch, tokens, retry, rules, uncertain } = options;
  const deadline = Date.now() + retry.totalMs;
  const idempotent = await isIdempotent(request, rules);
  let maybeChanged = false;
  let renewed = false;
  for (let attempt = 1; ; ) {
    const token = needsToken(request) ? await abortable(tokens.get(), request.signal) : undefined;
    const outcome = await sendOnce(fetch, request, token, signal);
    request.signal.throwIfAborted(); // the reason of the signal takes precedence over our errors

    if (outcome.response?.status === 401 && token !== undefined) {
      tokens.refuse(token);
      if (!renewed) {
        renewed = true;
        continue;
      }
    }
    const verdict = await classify(outcome);
    maybeChanged ||= verdict.maybeExecuted && !isRead(request);
    const delay = delayAfter(retry, attempt, outcome);
    const again = verdict.retry && (idempotent || !verdict.maybeExecuted) && attempt < retry.attempts;
    if (!again || Date.now() + delay >= deadline) {
      if (outcome.response === undefined) {
        throw unreachable(request, outcome.failure, attempt, maybeChanged);
      }
      if (maybeChanged) {
        uncertain.add(outcome.response);
      }
      return outcome.response;
    }
    await sleep(delay, request.signal);
    attempt++;
  }
}

/** Reports whether the client must add a token: only paths under /api need one, and a request may have its own. */
function needsToken(request: Request): boolean {
  return new URL(request.url).pathname.includes("/api/") && !request.headers.has("Authorization");
}

async function sendOnce(
  fetch: Fetch,
  request: Request,
  token: string | undefined,
  signal: AbortSignal,
): Promise<Outcome> {
  const attempt = new Request(request.clone(), { signal }); // cloned because a body can be sent only once
  if (token !== undefined) {
    attempt.headers.set("Authorization", `Bearer ${token}`);
  }
  try {
    const response = await fetch(attempt);
    await response.clone().arrayBuffer(); // an incomplete body is a failure of this attempt
    return { response };
  } catch (failure) {
    return { failure };
  }
}

function unreachable(request: Request, cause: unknown, attempts: number, outcomeUnknown: boolean): DocketNetworkError {
  const times = attempts === 1 ? "once" : `${attempts} times`;
  const { origin } = new URL(request.url);
  const page = globalThis.location?.origin; // undefined outside of browsers
  const hint =
    page === undefined || page === origin
      ? ""
      : ` If it is running, the browser may have blocked its response (CORS): its FRONTEND_URL must contain ${page}.`;
  const message = `Docket could not be reached at ${origin} (tried ${times}).${hint}`;
  return new DocketNetworkError(message, { cause, attempts, outcomeUnknown });
}
