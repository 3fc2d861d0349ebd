import { DocketProblem, isDocketProblem } from "@docket/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Person } from "./support/service.js";

/** What getToken was asked, in order. */
type Asked = boolean[];

test("a token is asked for once and kept", async () => {
  const ada = await Person.signUp();
  const asked: Asked = [];
  const { tasks } = ada.client({ getToken: ({ refresh }) => (asked.push(refresh), ada.token()) });
  await Promise.all([tasks.list(), tasks.list(), tasks.create({ title: "Milk" })]);
  await tasks.list();
  assert.deepEqual(asked, [false]);
});

test("an expired token is renewed once, for all calls that it was refused to, and nothing is done twice", async () => {
  const ada = await Person.signUp();
  const asked: Asked = [];
  const { tasks } = ada.client({
    getToken: ({ refresh }) => (asked.push(refresh), refresh ? ada.token() : ada.expiredToken()),
    retry: { attempts: 1 }, // a renewal is none
  });
  await Promise.all(["a", "b", "c"].map((title) => tasks.create({ title })));
  assert.equal((await tasks.list()).data.total, 3);
  assert.deepEqual(asked, [false, true]);
});

test("a token that is refused after its renewal is a problem, and the next call asks for another", async () => {
  const ada = await Person.signUp();
  const asked: Asked = [];
  const { tasks } = ada.client({ getToken: ({ refresh }) => (asked.push(refresh), ada.expiredToken()) });
  await assert.rejects(tasks.list(), (error) => isDocketProblem(error, "token_expired") && error.status === 401);
  assert.deepEqual(asked, [false, true]);
  await assert.rejects(tasks.complete("any"), (error) => isDocketProblem(error, "token_expired"));
  assert.deepEqual(asked, [false, true, true, true]);
});

test("a person who has left is told so at the first write", async () => {
  const ada = await Person.signUp();
  const token = await ada.token();
  const { tasks } = ada.client({ getToken: () => token });
  await ada.leave();
  await assert.rejects(tasks.create({ title: "Milk" }), (error) => {
    return error instanceof DocketProblem && error.status === 401 && error.detail.includes("no longer exists");
  });
});

test("a session's token is not taken for one of the API", async () => {
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

test("what getToken throws comes through as it is, and the next call asks again", async () => {
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

test("after forgetToken the next call is the next person's", async () => {
  const [ada, bob] = [await Person.signUp(), await Person.signUp()];
  await ada.client().tasks.create({ title: "Hers" });
  let person = ada;
  const client = ada.client({ getToken: () => person.token() });
  assert.equal((await client.tasks.list()).data.total, 1);
  person = bob;
  client.forgetToken();
  assert.equal((await client.tasks.list()).data.total, 0);
});

test("a name in the token is read as UTF-8, and padding is not needed", async () => {
  // The whole user is in the token; Better Auth encodes it without padding.
  const ada = await Person.signUp("Élodie 🧀");
  assert.equal((await ada.client().tasks.create({ title: "Brie" })).data.user_id, ada.id);
});
