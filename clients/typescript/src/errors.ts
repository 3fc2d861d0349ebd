import type { Fault } from "./types.js";
import { retryAfterOf } from "./retry-after.js";

/** Every code that the service knows today. The list grows: decide by `status` on a code that is not here. */
export const problemCodes = [
  "malformed_json",
  "invalid_parameter",
  "no_changes",
  "unexpected_body",
  "unauthorized",
  "token_expired",
  "user_mismatch",
  "task_not_found",
  "route_not_found",
  "method_not_allowed",
  "not_acceptable",
  "request_timeout",
  "precondition_failed",
  "payload_too_large",
  "unsupported_media_type",
  "validation_failed",
  "idempotency_key_reused",
  "header_fields_too_large",
  "internal_error",
  "unavailable",
  "overloaded",
  "outcome_unknown",
  "not_ready",
] as const;

/** A code that this version of the client has heard of. */
export type KnownProblemCode = (typeof problemCodes)[number];

/** Any code: an editor offers the known ones, the compiler allows all. */
export type ProblemCode = KnownProblemCode | (string & {});

/**
 * The service refused a request, or failed at it, and says why (RFC 9457).
 *
 * Decide by `code`, or by `status` for a code that you do not know. `detail`, which is also the `message`, is a
 * sentence to show to a person.
 */
export class DocketProblem<Code extends ProblemCode = ProblemCode> extends Error {
  override readonly name = "DocketProblem";
  readonly status: number;
  /** `unexpected_answer` is this client's own: the answer was no problem document, so something between gave it. */
  readonly code: Code;
  readonly title: string;
  readonly detail: string;
  /** An address that explains the kind of problem, relative to the service. */
  readonly type: string;
  /** Finds the request in the service's log. */
  readonly requestId: string | undefined;
  /** Every fault that was found in the request; empty when the problem is of another kind. */
  readonly errors: readonly Fault[];
  /** Seconds to wait before trying again. */
  readonly retryAfter: number | undefined;
  /**
   * The change may have been made although this is an error: an attempt got no answer, or one that leaves it open. A
   * 412 may then be the effect of one's own change. Always false for reads.
   */
  readonly outcomeUnknown: boolean;
  /** The whole document, with members that this version of the client does not know. */
  readonly document: Readonly<Record<string, unknown>>;

  /** Made by the client from an answer that is not a success, and from the answer's body, parsed if it was JSON. */
  constructor(response: Response, body: unknown, outcomeUnknown: boolean) {
    const document = isRecord(body) ? body : {};
    const detail = text(document["detail"]) ?? `The answer was ${response.status} without a problem document.`;
    super(detail);
    this.status = response.status;
    this.code = (text(document["code"]) ?? "unexpected_answer") as Code;
    this.title = text(document["title"]) ?? `HTTP status ${response.status}`;
    this.detail = detail;
    this.type = text(document["type"]) ?? "about:blank";
    this.requestId = text(document["request_id"]) ?? response.headers.get("X-Request-Id") ?? undefined;
    this.errors = Array.isArray(document["errors"]) ? document["errors"].filter(isFault) : [];
    this.retryAfter = retryAfterOf(response.headers);
    this.outcomeUnknown = outcomeUnknown;
    this.document = document;
  }

  /** Narrows to one of these codes: `if (problem.is("precondition_failed")) …`. */
  is<C extends ProblemCode>(...codes: C[]): this is DocketProblem<C> {
    return (codes as string[]).includes(this.code);
  }
}

/** Whether what was caught is a problem and, with codes, one of these: `isDocketProblem(error, "task_not_found")`. */
export function isDocketProblem<C extends ProblemCode = ProblemCode>(
  error: unknown,
  ...codes: C[]
): error is DocketProblem<C> {
  return error instanceof DocketProblem && (codes.length === 0 || error.is(...codes));
}

/** No answer came, as often as it was safe to try, or none that could be read. `cause` is the last failure. */
export class DocketNetworkError extends Error {
  override readonly name = "DocketNetworkError";
  /** How often the request was sent. */
  readonly attempts: number;
  /** The change may have been made. Always false for reads. */
  readonly outcomeUnknown: boolean;

  constructor(message: string, options: { cause: unknown; attempts: number; outcomeUnknown: boolean }) {
    super(message, { cause: options.cause });
    this.attempts = options.attempts;
    this.outcomeUnknown = options.outcomeUnknown;
  }
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isFault(value: unknown): value is Fault {
  return isRecord(value) && typeof value["detail"] === "string";
}
