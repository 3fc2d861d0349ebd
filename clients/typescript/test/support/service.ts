import { createDocketClient, type Docket, type DocketOptions } from "@docket/client";
import { randomUUID } from "node:crypto";

/** The running service and the Better Auth beside it. e2e/client starts them. */
export const docketURL = variable("DOCKET_URL");
const betterAuthURL = variable("BETTER_AUTH_URL");

/** One more Better Auth for the same people, whose tokens have expired when it gives them. */
const expiredAuthURL = variable("EXPIRED_AUTH_URL");

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) {
    throw new Error(`${name} is not set: run these tests with \`go test ./e2e/client\``);
  }
  return value;
}

const password = "correct horse battery staple";

/** Somebody who signed up with Better Auth and is signed in. */
export class Person {
  private constructor(
    readonly id: string,
    readonly session: string,
  ) {}

  static async signUp(name = "Ada"): Promise<Person> {
    const email = `${randomUUID()}@example.com`;
    const signedUp = await ask("POST", `${betterAuthURL}/api/auth/sign-up/email`, { name, email, password });
    const { token, user } = signedUp as { token: string; user: { id: string } };
    return new Person(user.id, token);
  }

  token(): Promise<string> {
    return this.#tokenOf(betterAuthURL);
  }

  expiredToken(): Promise<string> {
    return this.#tokenOf(expiredAuthURL);
  }

  async leave(): Promise<void> {
    await ask("POST", `${betterAuthURL}/api/auth/delete-user`, { password }, this.session);
  }

  /** A client of the person's, which waits a millisecond or so between attempts. */
  client(options: Partial<DocketOptions> = {}): Docket {
    return createDocketClient({
      baseUrl: docketURL,
      getToken: () => this.token(),
      ...options,
      retry: { baseMs: 1, ...options.retry },
    });
  }

  async #tokenOf(url: string): Promise<string> {
    const { token } = (await ask("GET", `${url}/api/auth/token`, undefined, this.session)) as { token: string };
    return token;
  }
}

async function ask(method: string, url: string, body?: unknown, session?: string): Promise<unknown> {
  const headers = new Headers({ "Content-Type": "application/json", Origin: betterAuthURL });
  if (session !== undefined) {
    headers.set("Authorization", `Bearer ${session}`);
  }
  const answer = await fetch(url, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  if (!answer.ok) {
    throw new Error(`Better Auth answers ${method} ${new URL(url).pathname} with ${answer.status}`);
  }
  return answer.json();
}
