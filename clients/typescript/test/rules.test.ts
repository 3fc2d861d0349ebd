import assert from "node:assert/strict";
import { test } from "node:test";
import { retryAfterOf } from "../dist/retry-after.js";
import { judge, pause, repeatable, retryOf } from "../dist/retry.js";
import { subjectOf } from "../dist/tokens.js";
import { unavailable } from "./support/proxy.js";

const failure = { failure: new TypeError("fetch failed") };

test("Retry-After is read as seconds and as a date, and nothing else", () => {
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
  // Without a Date, the client's own clock has to do.
  assert.ok((retryAfterOf(new Headers({ "Retry-After": inSeconds(3600) })) ?? 0) > 3000);
});

test("the wait is random below a limit that doubles, on top of what the answer asks for", () => {
  const retry = retryOf({ baseMs: 100, maxMs: 350 });
  assert.deepEqual([1, 2, 3, 4].map((attempt) => pause(retry, attempt, failure, 1)), [100, 200, 350, 350]);
  assert.deepEqual([1, 2, 3, 4].map((attempt) => pause(retry, attempt, failure, 0)), [0, 0, 0, 0]);
  const response = new Response(null, { headers: { "Retry-After": "2" } });
  assert.equal(pause(retry, 2, { response }, 0.5), 2100);
});

test("only an answer that nobody else could have given means that nothing was done", async () => {
  const answer = ({ status, headers, body }: ReturnType<typeof unavailable>) =>
    judge({ response: new Response(body ?? null, { status, headers: headers ?? {} }) });
  assert.deepEqual(await judge(failure), { again: true, maybeDone: true });
  assert.deepEqual(await answer(unavailable("unavailable")), { again: true, maybeDone: false });
  assert.deepEqual(await answer(unavailable("overloaded")), { again: true, maybeDone: false });
  assert.deepEqual(await answer(unavailable("not_ready")), { again: true, maybeDone: false });
  assert.deepEqual(await answer(unavailable("outcome_unknown")), { again: true, maybeDone: true });
  assert.deepEqual(await answer(unavailable("of_the_future")), { again: true, maybeDone: true });
  assert.deepEqual(await answer({ status: 503, body: "null" }), { again: true, maybeDone: true });
  assert.deepEqual(await answer({ status: 429 }), { again: true, maybeDone: false });
  assert.deepEqual(await answer({ status: 502 }), { again: true, maybeDone: true });
  assert.deepEqual(await answer({ status: 500 }), { again: false, maybeDone: true });
  assert.deepEqual(await answer({ status: 404 }), { again: false, maybeDone: false });
});

test("a request may be repeated when a second execution does no harm", async () => {
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
    [`${task}/complete`, { method: "PATCH", body: '{"completed":false}' }, true],
    [`${task}/complete`, { method: "PATCH", body: '{"completed":null}' }, false],
    [`${task}/complete`, { method: "PATCH", headers: { "If-Match": '"1.5"' } }, false],
  ];
  for (const [url, init, want] of cases) {
    assert.equal(await repeatable(new Request(url, init)), want, JSON.stringify([url, init]));
  }
});

test("the owner is read from a token in UTF-8, and from nothing that is no token", () => {
  const token = (payload: string) => `e30.${Buffer.from(payload).toString("base64url")}.c2ln`;
  assert.equal(subjectOf(token('{"sub":"ada","name":"Élodie 🧀??>>"}')), "ada");
  assert.equal(subjectOf(token('{"sub":"Élodie"}')), "Élodie");
  for (const none of ["", "abc", "a.b.c", token("{}"), token('{"sub":""}'), token('{"sub":7}'), token("null")]) {
    assert.throws(() => subjectOf(none), TypeError, none);
  }
});
