import { DocketProblem, isDocketProblem } from "@docket/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Person } from "./support/service.js";

test("getToken is called once and its token is reused", async () => {
  const ada = await Person.signUp();
  const refreshes: boolean[] = []; // the arguments of getToken
  const { tasks } = ada.client({ getToken: ({ refresh }) => (refreshes.push(refresh), ada.token()) });
  await Promise.all([tasks.list(), tasks.list(), tasks.create({ title: "Milk" })]);
  await tasks.list();
  assert.deepEqual(refreshes, [false]);
});

test("an expired token is renewed once for all concurrent calls, and no call is executed twice", async () => {
  const ada = await Person.signUp();
  const refreshes: boolean[] = []; // the arguments of getToken
  const { tasks } = ada.client({
    getToken: ({ refresh }) => (refreshes.push(refresh), refresh ? ada.token() : ada.expiredToken()),
    retry: { attempts: 1 }, // a renewal is not an attempt
  });
  await Promise.all(["a", "b", "c"].map((title) => tasks.create({ title })));
  assert.equal((await tasks.list()).data.total, 3);
  assert.deepEqual(refreshes, [false, true]);
});

test("a renewed token that is refused is reported, and the next call requests another", async () => {
  const ada = await Person.signUp();
  const refreshes: boolean[] = []; // the arguments of getToken
  const { tasks } = ada.client({ getToken: ({ refresh }) => (refreshes.push(refresh), ada.expiredToken()) });
  await assert.rejects(tasks.list(), (error) => isDocketProblem(error, "token_expired") && error.status === 401);
  assert.deepEqual(refreshes, [false, true]);
  await assert.rejects(tasks.complete("any"), (error) => isDocketProblem(error, "token_expired"));
  assert.deepEqual(refreshes, [false, true, true, true]);
});

test("a create for a deleted user is refused", async () => {
  const ada = await Person.signUp();
  const token = await ada.token();
  const { tasks } = ada.client({ getToken: () => token });
  await ada.deleteAccount();
  await assert.rejects(tasks.create({ title: "Milk" }), (error) => {
    return error instanceof DocketProblem && error.status === 401 && error.detail.includes("no longer exists");
  });
});

test("a session token is refused with an error that says which token is needed", async () => {
  const ada = await Person.signUp();
  const { tasks } = ada.client({ getToken: () => ada.session });
  await assert.rejects(tasks.list(), (error) => {
    const { message } = error as TypeError;
    return error instanceof TypeError && message.includes("/api/auth/token") && !message.includes(ada.session);
  });
  await assert.rejects(tasks.list({}, { userId: ada.id }), (error) => {
    return isDocketProblem(error, "unauthorized") && error.detail.includes("session token");
  });
});

test("errors of getToken are not wrapped, and the next call requests a token again", async () => {
  const ada = await Person.signUp();
  const signedOut = new Error("Please sign in.");
  let signedIn = false;
  const { tasks } = ada.client({
    getToken: () => {
      if (!signedIn) {
        throw signedOut;
      }
      return ada.token();
    },
  });
  await assert.rejects(tasks.list(), (error) => error === signedOut);
  await assert.rejects(tasks.list({}, { userId: ada.id }), (error) => error === signedOut);
  signedIn = true;
  assert.equal((await tasks.list()).data.total, 0);
});

test("the next call after forgetToken requests a token", async () => {
  const [ada, bob] = [await Person.signUp(), await Person.signUp()];
  await ada.client().tasks.create({ title: "Hers" });
  let person = ada;
  const client = ada.client({ getToken: () => person.token() });
  assert.equal((await client.tasks.list()).data.total, 1);
  person = bob;
  client.forgetToken();
  assert.equal((await client.tasks.list()).data.total, 0);
});

test("a token with claims in UTF-8 and without padding is read", async () => {
  const ada = await Person.signUp("Élodie 🧀");
  assert.equal((await ada.client().tasks.create({ title: "Brie" })).data.user_id, ada.id);
});
