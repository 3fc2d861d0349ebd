import type { components } from "./schema.gen.js";

/** A problem document (RFC 9457). */
export type Problem = components["schemas"]["Problem"];
/** A fault of a request: at a `pointer` into the body, in a `parameter` or in a `header`. */
export type Fault = components["schemas"]["Fault"];

/** The same properties, all optional. They may be undefined, so that values from a form or a URL can be passed on. */
export type Loose<T> = { [K in keyof T]?: T[K] | undefined };

/** Sends a request, like the global `fetch`. */
export type Fetch = (request: Request) => Promise<Response>;
