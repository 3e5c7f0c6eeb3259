import { reason, sleep, within } from "../abort.js";
import { local, signedOut } from "../errors.js";
import type { Platform } from "../platform.js";
import { clock, part, random } from "../surroundings.js";
import type { CsrfConfig, HttpClient, HttpConfig, RequestOptions, TokenSource } from "../types.js";
import { createCsrf } from "./csrf.js";
import { refusal } from "./refusal.js";

/** What HTTP calls are made with. Nothing of it is used before the first call. */
export interface HttpDeps {
  /** The server's address, asked for at each call. */
  url: () => string;
  config?: HttpConfig | undefined;
  /** Asked at each call: the source may itself need this client. */
  source?: (() => TokenSource | undefined) | undefined;
  csrf?: boolean | CsrfConfig | undefined;
  withCredentials?: boolean | undefined;
  platform?: Platform | undefined;
}

/**
 * A call of the client itself, to a path of its server, whatever `baseUrl` and
 * hooks are. `body` is the answer's, read. Errors are strict: see `refusal`.
 */
export type OwnCall = (
  method: string,
  path: string,
  body?: unknown,
  token?: string,
  signal?: AbortSignal,
) => Promise<{ res: Response; body: any }>;

export interface Http extends HttpClient {
  own: OwnCall;
}

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

/** A path after a base; a URL is taken as it is. */
const join = (base: string, path: string) =>
  /^https?:\/\//i.test(path) ? path : base.replace(/\/+$/, "") + path.replace(/^\/*(?=.)/s, "/");

const kind = (body: unknown) => Object.prototype.toString.call(body).slice(8, -1);
const streams = (body: unknown) => kind(body) === "ReadableStream";

/** Makes an HTTP client. Nothing is called yet. */
export function createHttp({ url: home, config = {}, source, csrf, withCredentials, platform }: HttpDeps): Http {
  const base = () => new URL(config.baseUrl ?? "", home()).href;
  const timeouts = config.timeout || 30_000;
  const guard = csrf && createCsrf(csrf === true ? {} : csrf, own, () => part(platform, "cookie")?.());

  /** What the network says, or the signal where that has ended it. */
  const reached = <T>(promise: Promise<T>, signal: AbortSignal) =>
    promise.catch((cause) => {
      throw signal.aborted ? reason(signal) : local("NETWORK", "No answer", undefined, cause);
    });

  const refused = (res: Response, text: string, call: Call) =>
    refusal(res, text, `${call.method} ${new URL(call.url).pathname}`, clock(platform), call.own);

  /** The answer that stands, after all retries. */
  async function send(call: Call): Promise<Response> {
    const { method, url, init, signal, own } = call;
    const { onRequest, onResponse, headers: extra } = config;
    const tokens = call.anonymous ? undefined : source?.();
    const deadline = clock(platform) + call.timeout;
    const stream = streams(init.body);
    const read = async (res: Response) => refused(res, await res.clone().text(), call);
    let renewed = false;
    let mismatched = false;
    for (let tries = 0; ; tries++) {
      const first = { ...init, method, signal, ...(stream && { duplex: "half" }) };
      let req: Request | undefined;
      if (onRequest && !own) req = (await onRequest((req = new Request(url, first)))) || req;
      const headers = new Headers((req ?? init).headers);
      const to = new URL(req?.url ?? url).origin;
      // The hook may have changed where it goes: the fence comes after it.
      const ours = [home(), base(), ...(config.trustedOrigins ?? [])].some((one) => new URL(one).origin === to);
      let token: string | null | undefined;
      let sent: string | undefined;
      if (ours) {
        for (const name in extra) if (!headers.has(name)) headers.set(name, extra[name]!);
        if (tokens && !headers.has(auth)) {
          token = await tokens.getAccessToken(signal);
          if (!token) throw signedOut();
          tokens.touch?.();
          headers.set(auth, "Bearer " + token);
        }
        if (guard && !/^(GET|HEAD|OPTIONS)$/.test(method) && !headers.has(auth))
          headers.set(guard.header, (sent = await guard.get(signal)));
      }
      const fetch = part(platform, "fetch")!;
      // The constructor keeps of a request what is not said anew.
      const last = new Request(req ?? url, {
        ...(!req && first),
        headers,
        credentials: !ours ? "omit" : withCredentials ? "include" : (init.credentials ?? "same-origin"),
        // A redirect to another origin loses its Authorization in `fetch` itself (the standard's HTTP-redirect fetch), and no
        // cookie of ours is that origin's. Other headers would go along, and a script can't look where a redirect leads:
        // what carries a CSRF token or the application's headers is not redirected at all, nor what may have a refresh token
        // in its body.
        redirect: init.redirect ?? (own || sent || (ours && extra) ? "manual" : "follow"),
      });
      const res = await reached(fetch(last), signal);
      if (ours && guard) guard.learn(res);
      if (!own) await onResponse?.(res, last);

      if (res.status === 401 && token && !renewed) {
        renewed = true;
        try {
          await tokens!.refused(token, await read(res), signal);
        } catch (e: any) {
          if (e?.final) return res; // the server's own refusal says more
          throw e;
        }
      } else if (res.status === 403 && sent && !mismatched && (await read(res)).code === "CSRF_MISMATCH") {
        mismatched = true;
        await (guard as ReturnType<typeof createCsrf>).get(signal, sent);
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
        init: { headers, body },
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
