import type { CookieJar } from "./cookies.js";
import type { Answer } from "./faults.js";
import type { TestRequest } from "./http.js";
import { Refusal } from "./refusal.js";
import type { Link } from "./websocket.js";

/** What is taken from a tab that is killed. */
export interface Caps {
  dead: boolean;
  links: Set<Link>;
}

/** The page that calls: what its browser adds to a request. */
export interface Page {
  jar: CookieJar;
  origin: string;
  caps: Caps;
}

const nothing = [101, 204, 205, 304];

/** A `fetch` that reaches a server. With a page it has its cookies and its origin. */
export function fetchFor(server: { url: string; serve(r: TestRequest): Promise<Answer> }, page?: Page): typeof fetch {
  return async (input: RequestInfo | URL, init: RequestInit = {}) => {
    const given = typeof input === "object" && "headers" in input ? input : undefined;
    const url = new URL(given ? given.url : String(input), page?.origin);
    const signal = init.signal ?? given?.signal ?? undefined;
    const method = (init.method ?? given?.method ?? "GET").toUpperCase();
    const headers = new Headers(init.headers ?? given?.headers);
    const body = init.body ?? undefined;
    if (typeof body === "string" && !headers.has("Content-Type")) headers.set("Content-Type", "text/plain;charset=UTF-8");
    const text = body !== undefined ? await new Response(body).text() : given?.body ? await given.text() : "";
    signal?.throwIfAborted();
    if (page?.caps.dead) return new Promise(() => {});
    const withCookies = page && credentials(init.credentials ?? given?.credentials, page.origin === url.origin);
    if (page) {
      if (method !== "GET" && method !== "HEAD" || page.origin !== url.origin) headers.set("Origin", page.origin);
      const cookies = page.jar.header(url.pathname);
      if (withCookies && cookies) headers.set("Cookie", cookies);
    }
    const answer = await left(server.serve({ method, url, headers, body: text, signal }), signal, page?.caps);
    if (withCookies) for (const line of answer.cookies) page.jar.take(line);
    const response = new Response(nothing.includes(answer.status) ? null : answer.body, {
      status: answer.status === 101 ? 204 : answer.status,
      headers: answer.headers,
    });
    return Object.defineProperty(response, "url", { value: url.href });
  };
}

function credentials(mode: RequestCredentials | undefined, same: boolean): boolean {
  return mode === "include" || (mode !== "omit" && same);
}

/** The answer, as the caller gets it: not at all after an abort, and as a failed fetch where it was cut. */
function left(answer: Promise<Answer>, signal: AbortSignal | undefined, caps: Caps | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal!.reason);
    signal?.addEventListener("abort", abort);
    const settle = (run: () => void) => {
      signal?.removeEventListener("abort", abort);
      if (!caps?.dead) run(); // a page that is gone hears nothing
    };
    answer.then(
      (a) => settle(() => resolve(a)),
      (e: unknown) => settle(() => reject(e instanceof Refusal ? e : new TypeError("fetch failed"))),
    );
  });
}
