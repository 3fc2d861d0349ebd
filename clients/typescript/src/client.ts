import createClient, { type Client, type Middleware } from "openapi-fetch";
import { retryOf, type RetryOptions } from "./retry.js";
import type { paths } from "./schema.gen.js";
import { sender } from "./send.js";
import { abortable } from "./signals.js";
import { tasksOf, type CallOptions, type Tasks } from "./tasks.js";
import { subjectOf, Tokens, type GetToken } from "./tokens.js";
import type { Fetch } from "./types.js";

export interface DocketOptions {
  /** Where Docket is, such as `https://tasks.example.com`; empty for the page's own origin. */
  baseUrl: string;
  getToken: GetToken;
  /** Whose tasks; by default the `sub` of each token. */
  userId?: string | undefined;
  /** Sends a single request; the global `fetch` by default. */
  fetch?: Fetch | undefined;
  retry?: RetryOptions | undefined;
}

/** Every operation of the document as openapi-fetch has it. Tokens, keys and retries are the same as elsewhere. */
export type Raw = Client<paths, `${string}/${string}`>;

export interface Docket {
  readonly tasks: Tasks;
  readonly raw: Raw;
  /** Asks `getToken` at the next call. Call it when somebody signs in or out. */
  forgetToken(): void;
}

/** Makes a client for the signed-in user. It has no state but the token. */
export function createDocketClient(options: DocketOptions): Docket {
  const { baseUrl, userId, fetch = (request) => globalThis.fetch(request) } = options;
  const tokens = new Tokens(options.getToken);
  const doubtful = new WeakSet<Response>();
  const raw: Raw = createClient<paths>({
    baseUrl,
    fetch: sender({ fetch, tokens, retry: retryOf(options.retry), doubtful }),
  });
  raw.use(idempotent);

  async function owner(call: CallOptions): Promise<string> {
    return call.userId ?? userId ?? subjectOf(await abortable(tokens.get(), call.signal));
  }
  return { tasks: tasksOf(raw, owner, doubtful), raw, forgetToken: () => tokens.forget() };
}

/** Gives every create a key, here and not per attempt, so that its repetitions have the same. */
const idempotent: Middleware = {
  onRequest({ request, schemaPath }) {
    if (request.method === "POST" && schemaPath === "/api/{user_id}/tasks" && !request.headers.has("Idempotency-Key")) {
      request.headers.set("Idempotency-Key", crypto.randomUUID());
    }
  },
};
