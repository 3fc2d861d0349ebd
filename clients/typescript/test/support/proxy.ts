import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { gzipSync } from "node:zlib";
import { docketURL } from "./service.js";

/** A fault that the proxy causes for one request. */
export type Fault =
  | "drop request" // closes the connection before the service receives the request
  | "drop response" // forwards the request, and closes the connection instead of sending the response
  | "truncate response" // the same after half of the body
  | "hang" // sends nothing
  | FakeResponse;

/** A response that the proxy sends instead of forwarding the request. */
export interface FakeResponse {
  status: number;
  headers?: Record<string, string>;
  body?: string;
}

/** Returns the 503 of the service with a problem code. */
export function unavailable(code: string, retryAfter?: string): FakeResponse {
  const headers = { "Content-Type": "application/problem+json", ...(retryAfter && { "Retry-After": retryAfter }) };
  const document = { status: 503, code, title: "Unavailable", detail: "Try again." };
  return { status: 503, headers, body: JSON.stringify(document) };
}

/** A proxy between a client and the service that can cause faults. */
export class Proxy {
  /** The requests received since the last call of `next`. */
  readonly requests: http.IncomingMessage[] = [];
  /** Makes the proxy compress responses, and returns the tag that it sends instead of the one of the service. */
  compress: ((tag: string) => string) | undefined;
  readonly #faults: Fault[] = [];

  private constructor(
    readonly url: string,
    readonly server: http.Server,
  ) {}

  /** Starts a proxy that runs until the test ends. */
  static async start(t: TestContext): Promise<Proxy> {
    const server = http.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = new Proxy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, server);
    server.on("request", (request, response) => void proxy.#handle(request, response));
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    return proxy;
  }

  /** Causes these faults for the next requests, one each. */
  next(...faults: Fault[]): this {
    this.#faults.push(...faults);
    this.requests.length = 0;
    return this;
  }

  /** Waits until that many requests have been received. */
  async received(count: number): Promise<void> {
    while (this.requests.length < count) {
      await once(this.server, "request");
    }
  }

  async #handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    this.requests.push(request);
    response.setHeader("Connection", "close");
    const body = await bytes(request);
    const fault = this.#faults.shift();
    if (fault === "drop request") {
      request.socket.destroy();
    } else if (typeof fault === "object") {
      response.writeHead(fault.status, fault.headers).end(fault.body);
    } else if (fault !== "hang") {
      await this.#forward(request, body, response, fault);
    }
  }

  async #forward(
    request: http.IncomingMessage,
    body: Buffer,
    response: http.ServerResponse,
    fault: "drop response" | "truncate response" | undefined,
  ): Promise<void> {
    const { method, url, headers } = request;
    const forwarded = http.request(docketURL + url, { method, headers, agent: false } as http.RequestOptions).end(body);
    const [upstream] = (await once(forwarded, "response")) as [http.IncomingMessage];
    let text = await bytes(upstream);
    if (fault === "drop response") {
      request.socket.destroy();
      return;
    }
    for (const [name, value] of Object.entries(upstream.headers)) {
      response.setHeader(name, value ?? "");
    }
    response.setHeader("Connection", "close");
    if (this.compress !== undefined && upstream.headers.etag !== undefined) {
      response.setHeader("ETag", this.compress(upstream.headers.etag));
      if (text.length > 0) {
        text = gzipSync(text);
        response.setHeader("Content-Encoding", "gzip").setHeader("Content-Length", text.length);
      }
    }
    response.writeHead(upstream.statusCode ?? 0);
    if (fault === "truncate response") {
      response.write(text.subarray(0, text.length / 2), () => request.socket.destroy());
    } else {
      response.end(text);
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
