import { defined, type CallOptions, type Core, type NotModified, type ReadOptions, type Result } from "./core.js";
import type { components } from "./schema.gen.js";

/** How many tasks an owner has, by state and priority. */
export type Counts = components["schemas"]["Stats"];

/** The counts of one owner's tasks. The method throws what those of Tasks throw. */
export interface Stats {
  /** Returns the counts. It is retried after every temporary failure. */
  get(options?: CallOptions & { ifNoneMatch?: never }): Promise<Result<Counts>>;
  get(options: ReadOptions): Promise<Result<Counts> | NotModified>;
}

export function statsOf(core: Core): Stats {
  async function get(options: CallOptions & { ifNoneMatch?: string | undefined } = {}) {
    const { signal, ifNoneMatch } = options;
    const path = { user_id: await core.owner(options) };
    const params = { path, header: defined({ "If-None-Match": ifNoneMatch }) };
    return core.read(core.raw.GET("/api/{user_id}/stats", { params, ...defined({ signal }) }));
  }

  return { get: get as Stats["get"] }; // there is no 304 without ifNoneMatch
}
