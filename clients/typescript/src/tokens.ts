/**
 * Gives a token for the API: Better Auth's `GET /api/auth/token`. With `refresh`, the one given last was refused.
 * Whatever it throws, when nobody is signed in for instance, is thrown by the call that needed the token.
 */
export type GetToken = (options: { refresh: boolean }) => string | Promise<string>;

/** Keeps one token until the service refuses it. Calls that run at once share one question to `getToken`. */
export class Tokens {
  readonly #getToken: GetToken;
  #asked: Promise<string> | undefined;
  #token: string | undefined;
  #refused = false;

  constructor(getToken: GetToken) {
    this.#getToken = getToken;
  }

  get(): Promise<string> {
    return (this.#asked ??= this.#ask());
  }

  /** A token that has been replaced meanwhile, by another call that was refused too, changes nothing. */
  refuse(token: string): void {
    if (token === this.#token) {
      this.forget();
      this.#refused = true;
    }
  }

  forget(): void {
    this.#asked = this.#token = undefined;
    this.#refused = false;
  }

  #ask(): Promise<string> {
    const refresh = this.#refused;
    const asked = (async () => this.#getToken({ refresh }))();
    asked.then(
      (token) => {
        if (this.#asked === asked) {
          this.#token = token;
          this.#refused = false;
        }
      },
      () => {
        if (this.#asked === asked) {
          this.#asked = undefined; // the next call asks again
        }
      },
    );
    return asked;
  }
}

/**
 * The `sub` of a token, the owner whose tasks it opens. Nothing is verified: that is the service's part, which refuses
 * a path that does not fit the token.
 */
export function subjectOf(token: string): string {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown };
    if (typeof sub === "string" && sub !== "") {
      return sub;
    }
  } catch {
    // no JWT: said below, without the token
  }
  throw new TypeError(
    "getToken gave no JWT with a sub: it must give the token of Better Auth's GET /api/auth/token, not the session's.",
  );
}
