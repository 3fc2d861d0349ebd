import type { Fault } from "./types.js";
import { retryAfterOf } from "./retry-after.js";

/** The problem codes of the service. More will be added, so use `status` to handle a code that is not listed here. */
export const problemCodes = [
  "malformed_json",
  "malformed_request",
  "invalid_parameter",
  "no_changes",
  "unexpected_body",
  "unauthorized",
  "token_expired",
  "user_mismatch",
  "task_not_found",
  "tag_not_found",
  "route_not_found",
  "method_not_allowed",
  "not_acceptable",
  "request_timeout",
  "too_many_tasks",
  "precondition_failed",
  "payload_too_large",
  "unsupported_media_type",
  "expectation_failed",
  "validation_failed",
  "idempotency_key_reused",
  "rate_limited",
  "header_fields_too_large",
  "internal_error",
  "unsupported_transfer_encoding",
  "unavailable",
  "overloaded",
  "outcome_unknown",
  "not_ready",
  "unsupported_http_version",
] as const;

/** A code that this version of the client knows. */
export type KnownProblemCode = (typeof problemCodes)[number];

/** Any code. Editors suggest the known ones. */
export type ProblemCode = KnownProblemCode | (string & {});

/**
 * An error response of the service (RFC 9457).
 *
 * Distinguish problems by `code`, and by `status` if you do not know the code. `detail` is a sentence for the user. It is
 * also the `message`.
 */
export class DocketProblem<Code extends ProblemCode = ProblemCode> extends Error {
  override readonly name = "DocketProblem";
  readonly status: number;
  /** `unexpected_response` is set by the client if the response is not a problem document, as from a gateway. */
  readonly code: Code;
  readonly title: string;
  readonly detail: string;
  /** The URL of a page that explains the problem type, relative to the service. */
  readonly type: string;
  /** Identifies the request in the log of the service. */
  readonly requestId: string | undefined;
  /** The trace that the request belongs to, if the service or a proxy before it traces. */
  readonly traceId: string | undefined;
  /** All faults of the request; empty for other problem types. */
  readonly errors: readonly Fault[];
  /** The seconds to wait before a retry. */
  readonly retryAfter: number | undefined;
  /**
   * The change may have been made, because an attempt had no response or one that leaves this open. In that case, a 412
   * may be caused by this change itself. Always false for reads.
   */
  readonly outcomeUnknown: boolean;
  /** The whole document, including members that this version of the client does not know. */
  readonly document: Readonly<Record<string, unknown>>;

  /** Takes a response that is not a success and its body, which is parsed if it is JSON. */
  constructor(response: Response, body: unknown, outcomeUnknown: boolean) {
    const document = isRecord(body) ? body : {};
    const detail = text(document["detail"]) ?? `The response has the status ${response.status} and no problem document.`;
    super(detail);
    this.status = response.status;
    this.code = (text(document["code"]) ?? "unexpected_response") as Code;
    this.title = text(document["title"]) ?? `HTTP status ${response.status}`;
    this.detail = detail;
    this.type = text(document["type"]) ?? "about:blank";
    this.requestId = text(document["request_id"]) ?? response.headers.get("X-Request-Id") ?? undefined;
    this.traceId = text(document["trace_id"]);
    this.errors = Array.isArray(document["errors"]) ? document["errors"].filter(isFault) : [];
    this.retryAfter = retryAfterOf(response.headers);
    this.outcomeUnknown = outcomeUnknown;
    this.document = document;
  }

  /** Reports whether the code is one of these, as in `if (problem.is("precondition_failed")) …`. */
  is<C extends ProblemCode>(...codes: C[]): this is DocketProblem<C> {
    return (codes as string[]).includes(this.code);
  }
}

/** Reports whether an error is a problem with one of these codes, or any problem if no codes are given. */
export function isDocketProblem<C extends ProblemCode = ProblemCode>(
  error: unknown,
  ...codes: C[]
): error is DocketProblem<C> {
  return error instanceof DocketProblem && (codes.length === 0 || error.is(...codes));
}

/**
 * Returns the text for the code of a problem or of one of its `errors`, or its `detail` if there is none. In the text,
 * names in braces stand for the members of the fault: `{ too_long: "Bitte höchstens {max} Zeichen." }`.
 */
export function translate(fault: { code?: string; detail: string }, texts: Readonly<Record<string, string>>): string {
  const { code = "", detail } = fault;
  const text = Object.hasOwn(texts, code) ? texts[code] : undefined;
  const members = fault as Readonly<Record<string, unknown>>;
  return text?.replace(/\{(\w+)\}/g, (_, name: string) => [members[name]].flat().join(", ")) ?? detail;
}

/** No attempt had a response that could be read. `cause` is the failure of the last attempt. */
export class DocketNetworkError extends Error {
  override readonly name = "DocketNetworkError";
  /** The number of attempts. */
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
  return isRecord(value) && typeof value["code"] === "string" && typeof value["detail"] === "string";
}
