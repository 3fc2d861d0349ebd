import type { components } from "./schema.gen.js";

/** A problem document (RFC 9457). */
export type Problem = components["schemas"]["Problem"];
/** A fault of a request: at a `pointer` into the body, in a `parameter` or in a `header`. */
export type Fault = components["schemas"]["Fault"];

/** The same properties, all optional. They may be undefined, so that optional values can be passed on. */
export type Loose<T> = { [K in keyof T]?: T[K] | undefined };

/**
 * The values of an enumeration. Any `string` is accepted if the call has one, as from a form or from an object whose
 * type was inferred, but a literal must be a known value. `Given` is inferred from the call.
 */
export type OneOf<Known extends string, Given extends string> = string extends Given ? Given : Known;

/** Sends a request, like the global `fetch`. */
export type Fetch = (request: Request) => Promise<Response>;
