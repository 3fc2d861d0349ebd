import { createDocketClient, type Docket, type DocketOptions } from "@docket/client";
import { randomUUID } from "node:crypto";

/** The URLs of the service and of Better Auth. e2e/client starts both. */
export const docketURL = variable("DOCKET_URL");

/** A second service with the same users, in which each may send 30 requests a minute. */
export const limitedURL = variable("LIMITED_URL");

const betterAuthURL = variable("BETTER_AUTH_URL");

/** A second Better Auth with the same users, whose tokens have already expired. */
const expiredAuthURL = variable("EXPIRED_AUTH_URL");

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) {
    throw new Error(`${name} is not set: run these tests with \`go test ./e2e/client\``);
  }
  return value;
}

const password = "correct horse battery staple";

/** A signed-in user of Better Auth. */
export class Person {
  private constructor(
    readonly id: string,
    readonly session: string,
  ) {}

  static async signUp(name = "Ada"): Promise<Person> {
    const email = `${randomUUID()}@example.com`;
    const signedUp = await request("POST", `${betterAuthURL}/api/auth/sign-up/email`, { name, email, password });
    const { token, user } = signedUp as { token: string; user: { id: string } };
    return new Person(user.id, token);
  }

  token(): Promise<string> {
    return this.#tokenOf(betterAuthURL);
  }

  expiredToken(): Promise<string> {
    return this.#tokenOf(expiredAuthURL);
  }

  async deleteAccount(): Promise<void> {
    await request("POST", `${betterAuthURL}/api/auth/delete-user`, { password }, this.session);
  }

  /** Returns a client of the user, with delays of a few milliseconds between attempts. */
  client(options: Partial<DocketOptions> = {}): Docket {
    return createDocketClient({
      baseUrl: docketURL,
      getToken: () => this.token(),
      ...options,
      retry: { baseMs: 1, ...options.retry },
    });
  }

  async #tokenOf(url: string): Promise<string> {
    const { token } = (await request("GET", `${url}/api/auth/token`, undefined, this.session)) as { token: string };
    return token;
  }
}

async function request(method: string, url: string, body?: unknown, session?: string): Promise<unknown> {
  const headers = new Headers({ "Content-Type": "application/json", Origin: betterAuthURL });
  if (session !== undefined) {
    headers.set("Authorization", `Bearer ${session}`);
  }
  const response = await fetch(url, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  if (!response.ok) {
    throw new Error(`Better Auth returned ${response.status} for ${method} ${new URL(url).pathname}`);
  }
  return response.json();
}
