/**
 * Returns a token for the API, from `GET /api/auth/token` of Better Auth. `refresh` is true if the previous token was
 * refused. The call that needs the token throws what this function throws, for example because no user is signed in.
 */
export type GetToken = (options: { refresh: boolean }) => string | Promise<string>;

/** Caches one token until the service refuses it. Concurrent calls share one call of `getToken`. */
export class Tokens {
  readonly #getToken: GetToken;
  #promise: Promise<string> | undefined;
  #token: string | undefined;
  #refused = false;

  constructor(getToken: GetToken) {
    this.#getToken = getToken;
  }

  get(): Promise<string> {
    return (this.#promise ??= this.#request());
  }

  /** Discards the token. It does nothing if the token has already been replaced for another refused call. */
  refuse(token: string): void {
    if (token === this.#token) {
      this.forget();
      this.#refused = true;
    }
  }

  forget(): void {
    this.#promise = this.#token = undefined;
    this.#refused = false;
  }

  #request(): Promise<string> {
    const refresh = this.#refused;
    const promise = (async () => this.#getToken({ refresh }))();
    promise.then(
      (token) => {
        if (this.#promise === promise) {
          this.#token = token;
          this.#refused = false;
        }
      },
      () => {
        if (this.#promise === promise) {
          this.#promise = undefined; // so that the next call tries again
        }
      },
    );
    return promise;
  }
}

/**
 * Returns the `sub` of a token, which is the owner. The token is not verified: the service refuses a path that does not
 * match the token.
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
    // not a JWT: reported below, without the token
  }
  throw new TypeError(
    "getToken did not return a JWT with a sub. It must return the token of Better Auth's GET /api/auth/token, " +
      "not the session token.",
  );
}
