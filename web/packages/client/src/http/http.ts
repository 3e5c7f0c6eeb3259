import type { Code } from "../codes.js";
import type { RequestOptions } from "../types.js";
import { createCsrf } from "./csrf.js";
import type { Http, HttpDeps, kit, OwnCall } from "./own.js";

interface Call {
  method: string;
  url: string;
  init: RequestInit;
  signal: AbortSignal;
  timeout: number;
  anonymous?: boolean | undefined;
  own?: boolean | undefined;
  /** It should have been made again, and its body can't be. */
  oneShot?: boolean;
}

const auth = "Authorization";
const json = "application/json";

const kind = (body: unknown) => Object.prototype.toString.call(body).slice(8, -1);
const streams = (body: unknown) => kind(body) === "ReadableStream";

/** For answers that name no code: a proxy's, or another server's. */
const byStatus: Record<number, Code> = {
  401: "UNAUTHENTICATED",
  403: "FORBIDDEN",
  404: "NOT_FOUND",
  408: "INTERNAL", // as 425, worth another try
  409: "CONFLICT",
  413: "MESSAGE_TOO_LARGE",
  425: "INTERNAL",
  429: "RATE_LIMITED",
  503: "GOING_AWAY",
};

/** What a status means without a code. */
export const codeOf = (status: number): Code =>
  byStatus[status] ?? (status < 400 || status > 499 ? "INTERNAL" : "INVALID_ARGUMENT");

/** Makes the HTTP client itself. This module is loaded by the first call. */
export function openHttp(
  deps: HttpDeps,
  { answered, clock, dispatch, join, local, random, reached, signedOut, sleep, timeoutOf, until, within }: typeof kit,
): Omit<Http, "load"> {
  const { url: home, config = {}, source, csrf, platform } = deps;
  const base = () => new URL(config.baseUrl ?? "", home()).href;
  const timeouts = timeoutOf(deps);
  const guard =
    csrf && createCsrf(csrf === true ? {} : csrf, own, platform, { local, until });

  const refused = (res: Response, text: string, call: Call) =>
    answered(res, text, `${call.method} ${new URL(call.url).pathname}`, clock(platform), call.own ? undefined : codeOf);

  /** The answer that stands, after all retries. */
  async function send(call: Call): Promise<Response> {
    const { method, url, init, signal, own } = call;
    const { onRequest, onResponse } = config;
    const tokens = call.anonymous ? undefined : source?.();
    const deadline = clock(platform) + call.timeout;
    const stream = streams(init.body);
    const read = async (res: Response) => refused(res, await res.clone().text(), call);
    let renewed = false;
    let mismatched = false;
    for (let tries = 0; ; tries++) {
      const first = { ...init, method, ...(own && { keepalive: true }), ...(stream && { duplex: "half" }) };
      let req: Request | undefined;
      if (onRequest && !own) req = (await onRequest((req = new Request(url, { ...first, signal })))) || req;
      let token: string | null | undefined;
      let guarded: string | undefined;
      // The hook may have changed where it goes: the fence comes after it.
      const { res, sent, ours } = await dispatch(deps, req ?? url, first, signal, async (headers) => {
        if (tokens && !headers.has(auth)) {
          token = await tokens.getAccessToken(signal);
          if (!token) throw signedOut();
          tokens.touch?.();
          headers.set(auth, "Bearer " + token);
        }
        if (guard && !/^(GET|HEAD|OPTIONS)$/.test(method) && !headers.has(auth))
          headers.set(guard.header, (guarded = await guard.get(signal)));
        return guarded;
      });
      if (ours && guard) guard.learn(res);
      if (!own) await onResponse?.(res, sent);

      if (res.status === 401 && token && !renewed) {
        renewed = true;
        try {
          await tokens!.refused(token, await read(res), signal);
        } catch (e: any) {
          if (e?.final) return res; // the server's own refusal says more
          throw e;
        }
      } else if (res.status === 403 && guarded && !mismatched && (await read(res)).code === "CSRF_MISMATCH") {
        mismatched = true;
        await (guard as ReturnType<typeof createCsrf>).get(signal, guarded);
      } else if (
        res.status === 503 &&
        /^(GET|HEAD|OPTIONS|PUT|DELETE)$/.test(method) &&
        tries < (config.retries ?? 3) &&
        !stream
      ) {
        const wait = (await read(res)).retryAfter! * 1000 + random(platform) * Math.min(1000 * 2 ** tries, 30_000);
        if (!(clock(platform) + wait < deadline)) return res; // no Retry-After, or no time
        await sleep(wait, signal);
      } else return res;
      if ((call.oneShot = stream)) return res;
    }
  }

  /** A good answer, read. */
  async function whole(
    method: string,
    path: string,
    body: any,
    options: RequestOptions = {},
    own?: boolean,
  ): Promise<{ res: Response; body: any }> {
    const timeout = options.timeout || timeouts;
    return within(options.signal, timeout, async (signal) => {
      const url = new URL(join(own ? home() : base(), path));
      const headers = new Headers({ Accept: json, ...options.headers });
      for (const [name, value] of Object.entries(options.query ?? {}))
        if (value != null) url.searchParams.append(name, String(value));
      // What `fetch` takes is sent as it is, all else as JSON.
      if (body == null) body = null;
      else if (
        /^(Obj|Arr.*y$|Str|Num|Bool|Date)/.test(kind(body))
      ) {
        body = JSON.stringify(body);
        if (!headers.has("Content-Type")) headers.set("Content-Type", json);
      }
      const call: Call = {
        method,
        url: url.href,
        init: { headers, body, ...(own && { redirect: "manual" }) },
        signal,
        timeout,
        anonymous: own || options.anonymous,
        own,
      };
      const res = await send(call);
      const text = await reached(res.text(), signal);
      if (!res.ok) {
        const e = refused(res, text, call);
        if (call.oneShot) e.message += "; not sent again: its body is a stream";
        throw e;
      }
      // Text that is not called JSON is what it is.
      if (!text || !/json/i.test(res.headers.get("Content-Type") ?? json)) return { res, body: text || undefined };
      try {
        return { res, body: JSON.parse(text) };
      } catch (cause) {
        throw local("INTERNAL", "Bad JSON", undefined, cause);
      }
    });
  }

  function own(
    method: string,
    path: string,
    body?: unknown,
    token?: string,
    signal?: AbortSignal,
  ): ReturnType<OwnCall> {
    return whole(method, path, body, { headers: token ? { [auth]: "Bearer " + token } : {}, signal: signal! }, true);
  }

  const plain = (method: string) => async (path: string, options?: RequestOptions) =>
    (await whole(method, path, null, options)).body;
  const full = (method: string) => async (path: string, body?: unknown, options?: RequestOptions) =>
    (await whole(method, path, body, options)).body;

  return {
    get: plain("GET"),
    post: full("POST"),
    put: full("PUT"),
    patch: full("PATCH"),
    delete: plain("DELETE"),
    fetch: (path, init = {}) =>
      within(
        init.signal,
        timeouts,
        async (signal) =>
          send({
            method: (init.method ?? "GET").toUpperCase(),
            url: join(base(), path),
            init,
            signal,
            timeout: timeouts,
          }),
        true, // the caller's signal ends the reading of the body as well
      ),
    own,
  };
}
