/**
 * Returns the seconds to wait according to a `Retry-After` header, which contains seconds or a date (RFC 9110, section
 * 10.2.3). A date is compared with the `Date` header if there is one, because the clock of the client may be wrong.
 */
export function retryAfterOf(headers: Headers): number | undefined {
  const value = headers.get("Retry-After")?.trim() ?? "";
  if (/^\d+$/.test(value)) {
    return Number(value);
  }
  const at = httpDate(value);
  return at === undefined ? undefined : Math.max(0, (at - (httpDate(headers.get("Date")) ?? Date.now())) / 1000);
}

/** Parses a date that begins with a weekday. Date.parse alone accepts too much: "-1" is a day in 2001. */
function httpDate(value: string | null): number | undefined {
  const at = /^[A-Z][a-z]{2,8},? /.test(value ?? "") ? Date.parse(value ?? "") : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}
