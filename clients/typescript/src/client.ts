import createClient, { type Middleware } from "openapi-fetch";
import { Core, type Raw } from "./core.js";
import { originalTags } from "./entity-tag.js";
import { retryOf, ruleOf, type RetryOptions } from "./retry.js";
import type { paths } from "./schema.gen.js";
import { sender } from "./send.js";
import { statsOf, type Stats } from "./stats.js";
import { tagsOf, type Tags } from "./tags.js";
import { taskRetryRules, tasksOf, type Tasks } from "./tasks.js";
import { Tokens, type GetToken } from "./tokens.js";
import type { Fetch } from "./types.js";

export interface DocketOptions {
  /** The base URL of Docket, such as `https://tasks.example.com`; empty for the origin of the page. */
  baseUrl: string;
  getToken: GetToken;
  /** The owner whose resources are accessed; by default the `sub` of the token. */
  userId?: string | undefined;
  /** Sends a single request; by default the global `fetch`. */
  fetch?: Fetch | undefined;
  retry?: RetryOptions | undefined;
}

export interface Docket {
  readonly tasks: Tasks;
  readonly tags: Tags;
  readonly stats: Stats;
  /** The openapi-fetch client for all operations, with the same tokens, idempotency keys and retries. */
  readonly raw: Raw;
  /** Discards the token, so that the next call asks `getToken`. Call it when a user signs in or out. */
  forgetToken(): void;
}

/** Creates a client for the signed-in user. Its only state is the token. */
export function createDocketClient(options: DocketOptions): Docket {
  const { baseUrl, userId, fetch = (request) => globalThis.fetch(request) } = options;
  const tokens = new Tokens(options.getToken);
  const uncertain = new WeakSet<Response>();
  const retry = retryOf(options.retry);
  const send = sender({ fetch, tokens, retry, rules: taskRetryRules, uncertain });
  const raw = createClient<paths, `${string}/${string}`>({ baseUrl, fetch: send });
  raw.use(requestHeaders);
  const core = new Core(raw, tokens, userId, uncertain);
  return { tasks: tasksOf(core), tags: tagsOf(core), stats: statsOf(core), raw, forgetToken: () => tokens.forget() };
}

/**
 * Adds an idempotency key to each POST that creates something and has none, and restores tags that a proxy has changed. It
 * runs once per call, so that all attempts of a call have the same key.
 */
const requestHeaders: Middleware = {
  onRequest({ request: { headers, method, url } }) {
    if (method === "POST" && !headers.has("Idempotency-Key") && ruleOf(url, taskRetryRules) === undefined) {
      headers.set("Idempotency-Key", randomKey());
    }
    for (const name of ["If-Match", "If-None-Match"]) {
      const tags = headers.get(name);
      if (tags !== null) {
        headers.set(name, originalTags(tags));
      }
    }
  },
};

/** Returns 128 random bits. Browsers have crypto.randomUUID on https and localhost only. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(16).padStart(8, "0")).join("");
}
