import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { docketURL } from "./service.js";

/** What the network does to one request. */
export type Fault =
  | "cut" // breaks the connection before the service sees the request
  | "lose" // lets the service do it, and breaks the connection instead of answering
  | "tear" // the same after half of the answer's body
  | "hang" // says nothing
  | Answer;

/** What something in between answers in the service's place. */
export interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: string;
}

/** The service's own way to say that it is overloaded, or that it does not know. */
export function unavailable(code: string, retryAfter?: string): Answer {
  const headers = { "Content-Type": "application/problem+json", ...(retryAfter && { "Retry-After": retryAfter }) };
  const document = { status: 503, code, title: "Unavailable", detail: "Try again." };
  return { status: 503, headers, body: JSON.stringify(document) };
}

/** A network between a client and the service, which fails as it is told and works otherwise. */
export class Proxy {
  /** The requests that came this far. */
  readonly requests: http.IncomingMessage[] = [];
  readonly #faults: Fault[] = [];

  private constructor(
    readonly url: string,
    readonly server: http.Server,
  ) {}

  /** Runs until the test ends. */
  static async start(t: TestContext): Promise<Proxy> {
    const server = http.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = new Proxy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, server);
    server.on("request", (request, answer) => void proxy.#pass(request, answer));
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    return proxy;
  }

  /** Lets the next requests meet these, one each. */
  next(...faults: Fault[]): this {
    this.#faults.push(...faults);
    this.requests.length = 0;
    return this;
  }

  /** Waits until that many requests came this far. */
  async seen(count: number): Promise<void> {
    while (this.requests.length < count) {
      await once(this.server, "request");
    }
  }

  async #pass(request: http.IncomingMessage, answer: http.ServerResponse): Promise<void> {
    this.requests.push(request);
    answer.setHeader("Connection", "close");
    const body = await bytes(request);
    const fault = this.#faults.shift();
    if (fault === "cut") {
      request.socket.destroy();
    } else if (typeof fault === "object") {
      answer.writeHead(fault.status, fault.headers).end(fault.body);
    } else if (fault !== "hang") {
      await this.#forward(request, body, answer, fault);
    }
  }

  async #forward(
    request: http.IncomingMessage,
    body: Buffer,
    answer: http.ServerResponse,
    fault: "lose" | "tear" | undefined,
  ): Promise<void> {
    const { method, url, headers } = request;
    const onward = http.request(docketURL + url, { method, headers, agent: false } as http.RequestOptions).end(body);
    const [given] = (await once(onward, "response")) as [http.IncomingMessage];
    const text = await bytes(given);
    if (fault === "lose") {
      request.socket.destroy();
      return;
    }
    for (const [name, value] of Object.entries(given.headers)) {
      answer.setHeader(name, value ?? "");
    }
    answer.setHeader("Connection", "close");
    answer.writeHead(given.statusCode ?? 0);
    if (fault === "tear") {
      answer.write(text.subarray(0, text.length / 2), () => request.socket.destroy());
    } else {
      answer.end(text);
    }
  }
}

async function bytes(stream: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}
