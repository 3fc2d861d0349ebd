import assert from "node:assert/strict";
import { test } from "node:test";
import { retryAfterOf } from "../dist/retry-after.js";
import { classify, delayAfter, isIdempotent, retryOf } from "../dist/retry.js";
import { originalTags } from "../dist/entity-tag.js";
import { taskRetryRules } from "../dist/tasks.js";
import { subjectOf } from "../dist/tokens.js";
import { unavailable } from "./support/proxy.js";

const failure = { failure: new TypeError("fetch failed") };

test("Retry-After is accepted as seconds and as a date only", () => {
  const now = new Date();
  now.setMilliseconds(0);
  const inSeconds = (seconds: number) => new Date(now.getTime() + seconds * 1000).toUTCString();
  const cases: [Record<string, string>, number | undefined][] = [
    [{ "Retry-After": "0" }, 0],
    [{ "Retry-After": " 120 " }, 120],
    [{ "Retry-After": inSeconds(90), Date: now.toUTCString() }, 90],
    [{ "Retry-After": inSeconds(-90), Date: now.toUTCString() }, 0],
    [{ "Retry-After": "Sunday, 06-Nov-94 08:49:37 GMT", Date: "Sun, 06 Nov 1994 08:49:30 GMT" }, 7],
    [{ "Retry-After": "-1" }, undefined],
    [{ "Retry-After": "1.5" }, undefined],
    [{ "Retry-After": "soon" }, undefined],
    [{ "Retry-After": "" }, undefined],
    [{}, undefined],
  ];
  for (const [headers, want] of cases) {
    assert.equal(retryAfterOf(new Headers(headers)), want, JSON.stringify(headers));
  }
  // Without a Date header, the clock of the client is used.
  assert.ok((retryAfterOf(new Headers({ "Retry-After": inSeconds(3600) })) ?? 0) > 3000);
});

test("the delay is random up to a maximum that doubles, in addition to Retry-After", () => {
  const retry = retryOf({ baseMs: 100, maxMs: 350 });
  assert.deepEqual([1, 2, 3, 4].map((attempt) => delayAfter(retry, attempt, failure, 1)), [100, 200, 350, 350]);
  assert.deepEqual([1, 2, 3, 4].map((attempt) => delayAfter(retry, attempt, failure, 0)), [0, 0, 0, 0]);
  const response = new Response(null, { headers: { "Retry-After": "2" } });
  assert.equal(delayAfter(retry, 2, { response }, 0.5), 2100);
});

test("only a response that no gateway could have sent proves that nothing was executed", async () => {
  const classified = ({ status, headers, body }: ReturnType<typeof unavailable>) =>
    classify({ response: new Response(body ?? null, { status, headers: headers ?? {} }) });
  assert.deepEqual(await classify(failure), { retry: true, maybeExecuted: true });
  assert.deepEqual(await classified(unavailable("unavailable")), { retry: true, maybeExecuted: false });
  assert.deepEqual(await classified(unavailable("overloaded")), { retry: true, maybeExecuted: false });
  assert.deepEqual(await classified(unavailable("not_ready")), { retry: true, maybeExecuted: false });
  assert.deepEqual(await classified(unavailable("outcome_unknown")), { retry: true, maybeExecuted: true });
  assert.deepEqual(await classified(unavailable("of_the_future")), { retry: true, maybeExecuted: true });
  assert.deepEqual(await classified({ status: 503, body: "null" }), { retry: true, maybeExecuted: true });
  assert.deepEqual(await classified({ status: 429 }), { retry: true, maybeExecuted: false });
  assert.deepEqual(await classified({ status: 502 }), { retry: true, maybeExecuted: true });
  assert.deepEqual(await classified({ status: 500 }), { retry: false, maybeExecuted: true });
  assert.deepEqual(await classified({ status: 404 }), { retry: false, maybeExecuted: false });
});

test("reads, keyed creates, changes with a tag and setting completed are idempotent", async () => {
  const task = "http://docket.example/api/ada/tasks/1";
  const cases: [string, RequestInit, boolean][] = [
    [task, {}, true],
    [task, { method: "HEAD" }, true],
    [task, { method: "POST" }, false],
    [task, { method: "POST", headers: { "Idempotency-Key": "k" } }, true],
    [task, { method: "POST", headers: { "If-Match": '"1.5"' } }, false],
    [task, { method: "PUT" }, false],
    [task, { method: "PATCH", headers: { "If-Match": '"1.5"' } }, true],
    [task, { method: "PATCH", headers: { "If-Match": "" } }, false],
    [task, { method: "DELETE", headers: { "If-Match": "*" } }, false],
    [task, { method: "PATCH", body: '{"etag":"\\"1.5\\""}' }, true],
    [task, { method: "PUT", body: '{"etag":"\\"1.5\\"","title":"Milk"}', headers: { "If-Match": "*" } }, true],
    [task, { method: "PATCH", body: '{"etag":null}' }, false],
    [task, { method: "PATCH", body: "null" }, false],
    [`${task}/complete`, { method: "PATCH", body: '{"completed":false}' }, true],
    [`${task}/complete`, { method: "PATCH", body: '{"completed":null}' }, false],
    [`${task}/complete`, { method: "PATCH", headers: { "If-Match": '"1.5"' } }, false],
    [`${task}/complete`, { method: "PATCH", body: '{"today":"2026-03-09"}' }, false],
    [`${task}/complete`, { method: "POST", headers: { "Idempotency-Key": "k" } }, false],
    [`${task}/complete`, { method: "POST", body: '{"completed":true}' }, true],
    [`${task}/skip`, { method: "POST", body: '{"occurrence_date":"2026-03-09"}' }, true],
    ["http://docket.example/api/ada/tags/home", { method: "PATCH", body: '{"name":"house"}' }, false],
    ["http://docket.example/api/ada/tags/home", { method: "DELETE" }, false],
  ];
  for (const [url, init, want] of cases) {
    assert.equal(await isIdempotent(new Request(url, init), taskRetryRules), want, JSON.stringify([url, init]));
  }
});

// fault G1
test("what a proxy has added to tags is removed, and nothing else", () => {
  for (const [changed, original] of [
    ['W/"2.17"', '"2.17"'],
    ['"2.17-gzip"', '"2.17"'],
    ['"2.17--gzip"', '"2.17"'],
    ['W/"2.17;gzip"', '"2.17"'],
    ['"2.17-br", W/"2.18",W/"2.19-zstd"', '"2.17", "2.18","2.19"'],
    ['"2.17.3kq9x"', '"2.17.3kq9x"'],
    ["*", "*"],
    ["", ""],
  ] as const) {
    assert.equal(originalTags(changed), original);
  }
});

test("the owner is read from a token in UTF-8, and anything else is refused", () => {
  const token = (payload: string) => `e30.${Buffer.from(payload).toString("base64url")}.c2ln`;
  assert.equal(subjectOf(token('{"sub":"ada","name":"Élodie 🧀??>>"}')), "ada");
  assert.equal(subjectOf(token('{"sub":"Élodie"}')), "Élodie");
  for (const invalid of ["", "abc", "a.b.c", token("{}"), token('{"sub":""}'), token('{"sub":7}'), token("null")]) {
    assert.throws(() => subjectOf(invalid), TypeError, invalid);
  }
});
