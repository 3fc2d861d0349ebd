/**
 * The seconds that a `Retry-After` header asks to wait, given there as seconds or as a date (RFC 9110, section 10.2.3).
 * A date is measured by the answer's own clock where it can be read, because the client's may be wrong.
 */
export function retryAfterOf(headers: Headers): number | undefined {
  const value = headers.get("Retry-After")?.trim() ?? "";
  if (/^\d+$/.test(value)) {
    return Number(value);
  }
  const at = httpDate(value);
  return at === undefined ? undefined : Math.max(0, (at - (httpDate(headers.get("Date")) ?? Date.now())) / 1000);
}

/** Date.parse takes all sorts of text ("-1" is a day in 2001), so only what begins with a weekday gets there. */
function httpDate(value: string | null): number | undefined {
  const at = /^[A-Z][a-z]{2,8},? /.test(value ?? "") ? Date.parse(value ?? "") : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}
