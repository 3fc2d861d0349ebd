import { DocketProblem } from "@docket/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { limitedURL, Person } from "./support/service.js";

/** The limit of the service gives a request back every two seconds. */
const secondsPerRequest = 2;

/** Calls a function until it returns true. The time limit only ends a test that would hang. */
async function until(done: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 300_000; !(await done()); ) {
    assert.ok(Date.now() < end, "the rate limit was never reached");
  }
}

test("a request beyond the rate limit is sent again after Retry-After, and succeeds", async () => {
  const ada = await Person.signUp();
  const responses: Response[] = [];
  const { tasks } = ada.client({
    baseUrl: limitedURL,
    fetch: async (request) => {
      const response = await fetch(request);
      responses.push(response);
      return response;
    },
  });
  let created = 0;
  await until(async () => {
    await tasks.create({ title: "Milk" }); // throws if it is refused in the end
    created++;
    return responses.some(({ status }) => status === 429);
  });
  const statuses = responses.map(({ status }) => status);
  assert.deepEqual(statuses.slice(-2), [429, 201]);
  assert.equal(responses.at(0)?.headers.get("RateLimit-Policy"), '"default";q=30;w=60');
  assert.match(responses.at(-2)?.headers.get("RateLimit") ?? "", /^"default";r=0;t=[12]$/);
  assert.equal((await ada.client().tasks.list()).data.total, created);
});

test("a rate limit that leaves no time for another attempt is a problem with retryAfter", async () => {
  const { tasks } = (await Person.signUp()).client({ baseUrl: limitedURL, retry: { attempts: 1 } });
  await until(async () => {
    try {
      await tasks.list();
      return false;
    } catch (error) {
      assert.ok(error instanceof DocketProblem && error.is("rate_limited"), String(error));
      assert.equal(error.status, 429);
      assert.equal(error.outcomeUnknown, false);
      assert.ok(error.retryAfter !== undefined && error.retryAfter >= 1 && error.retryAfter <= secondsPerRequest);
      assert.match(error.detail, /^You have sent more than 30 requests a minute\. Nothing was done\. Try again in (a second|2 seconds)\.$/);
      return true;
    }
  });
});
