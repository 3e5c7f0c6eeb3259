import { limit, reason, sleep, until } from "../abort.js";
import { HoldfastError } from "../errors.js";
import type { Platform } from "../platform.js";
import { clock, part, random } from "../surroundings.js";
import type { CsrfConfig, HttpClient, HttpConfig, RequestOptions, TokenSource } from "../types.js";
import { Csrf } from "./csrf.js";
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

/** Calls of the client itself. */
export interface Http extends HttpClient {
  /**
   * POST to a path of the server, whatever `baseUrl` and hooks are. `date` is
   * that of the answer, epoch milliseconds, NaN for none. Errors are strict:
   * see `refusal`.
   */
  own(path: string, body: unknown, token: string | undefined, signal?: AbortSignal): Promise<{ data: any; date: number }>;
}

interface Call {
  method: string;
  url: string;
  init: RequestInit;
  signal: AbortSignal;
  timeout: number;
  anonymous?: boolean | undefined;
  /** A call of the client itself. */
  own?: boolean;
  /** It should have been made again, and its body can't be. */
  oneShot?: boolean;
}

const auth = "Authorization";

/** A path after a base; a URL is taken as it is. */
export function join(base: string, path: string): string {
  if (/^https?:\/\//i.test(path)) return path;
  return path && base.replace(/\/+$/, "") + path.replace(/^\/*/, "/");
}

/** What `fetch` takes is sent as it is, all else as JSON. */
function encode(body: unknown, headers: Headers): BodyInit | null {
  if (body == null) return null;
  const kind = Object.prototype.toString.call(body).slice(8, -1);
  if (ArrayBuffer.isView(body) || /^(FormData|Blob|File|URLSearchParams|ArrayBuffer|ReadableStream)$/.test(kind)) return body as BodyInit;
  if (!headers.has("Content-Type")) headers.set("Content-Type", "application/json");
  return JSON.stringify(body);
}

/** Makes an HTTP client. Nothing is called yet. */
export function createHttp(deps: HttpDeps): Http {
  const { config = {}, platform } = deps;
  const base = () => new URL(config.baseUrl ?? "", deps.url()).href;
  const trusted = (url: string) =>
    [deps.url(), base(), ...(config.trustedOrigins ?? [])].some((one) => new URL(one).origin === new URL(url).origin);
  const csrf =
    deps.csrf &&
    new Csrf(
      deps.csrf === true ? {} : deps.csrf,
      (path) => whole("GET", join(deps.url(), path), null, { anonymous: true }, true),
      () => part(platform, "cookie")?.() ?? "",
    );

  /** The answer that stands, after all retries. */
  async function send(call: Call): Promise<Response> {
    const { method, url, init, signal, own } = call;
    const source = deps.source?.();
    const deadline = clock(platform) + call.timeout;
    const what = `${method} ${new URL(url).pathname}`;
    const read = async (res: Response) =>
      refusal(res, await res.clone().text(), { what, now: clock(platform) });
    const stream = /ReadableStream/.test(Object.prototype.toString.call(init.body));
    let renewed = false;
    let mismatched = false;
    for (let tries = 0; ; tries++) {
      let req = new Request(url, { ...init, method, signal, ...(stream && { duplex: "half" }) } as RequestInit);
      if (!own) req = (await config.onRequest?.(req)) || req;
      // The hook may have changed where it goes: the fence comes after it.
      const ours = trusted(req.url);
      const { headers } = req;
      let token: string | null | undefined;
      let guard: string | undefined;
      if (ours) {
        for (const [name, value] of Object.entries(config.headers ?? {})) if (!headers.has(name)) headers.set(name, value);
        if (source && !call.anonymous && !headers.has(auth)) {
          token = await source.getAccessToken(signal);
          if (!token) throw new HoldfastError("SIGNED_OUT", "Nobody is signed in; calls that need no token are `anonymous`", { final: true });
          source.touch?.();
          headers.set(auth, "Bearer " + token);
        }
        if (csrf && !/^(GET|HEAD|OPTIONS)$/.test(method) && !headers.has(auth)) headers.set(csrf.header, (guard = await csrf.get(signal)));
      }
      const res = await reached(
        part(platform, "fetch")!,
        new Request(req, {
          credentials: ours ? (deps.withCredentials ? "include" : (init.credentials ?? "same-origin")) : "omit",
          // A redirect to another origin loses its Authorization in `fetch` itself (step 13 of the standard's HTTP-redirect
          // fetch), and no cookie of ours is that origin's. Other headers would go along, and a script can't look where a
          // redirect leads: what carries a CSRF token or the application's headers is not redirected at all.
          redirect: init.redirect ?? (guard || (ours && config.headers) ? "manual" : "follow"),
        }),
        what,
      );
      if (ours && csrf) csrf.learn(res);
      if (!own) await config.onResponse?.(res, req);

      if (res.status === 401 && token && !renewed) {
        renewed = true;
        try {
          await source!.refused(token, await read(res), signal);
        } catch (e: any) {
          if (e?.final) return res; // the server's own refusal says more
          throw e;
        }
      } else if (res.status === 403 && guard && !mismatched && (await read(res)).code === "CSRF_MISMATCH") {
        mismatched = true;
        await (csrf as Csrf).get(signal, guard);
      } else if (res.status === 503 && /^(GET|HEAD|OPTIONS|PUT|DELETE)$/.test(method) && tries < (config.retries ?? 3) && !stream) {
        const { retryAfter } = await read(res);
        const wait = retryAfter! * 1000 + random(platform) * Math.min(1000 * 2 ** tries, 30_000);
        if (!(clock(platform) + wait < deadline)) return res; // no Retry-After, or no time
        await sleep(wait, signal);
      } else return res;
      if ((call.oneShot = stream)) return res;
    }
  }

  /** An answer, or why there is none. */
  function reached(fetch: typeof globalThis.fetch, req: Request, what: string): Promise<Response> {
    return fetch(req).catch((cause) => {
      throw req.signal.aborted ? reason(req.signal) : new HoldfastError("NETWORK", `${what} was not answered`, { cause });
    });
  }

  /** A good answer, read. */
  async function whole(method: string, url: string, body: unknown, options: RequestOptions = {}, own = false): Promise<{ res: Response; text: string }> {
    const timeout = options.timeout || config.timeout || 30_000;
    const { signal, done } = limit(options.signal, timeout);
    const work = async () => {
      const headers = new Headers({ Accept: "application/json", ...options.headers });
      const to = new URL(url);
      for (const [name, value] of Object.entries(options.query ?? {})) if (value != null) to.searchParams.append(name, String(value));
      const call: Call = { method, url: to.href, init: { headers, body: encode(body, headers) }, signal, timeout, anonymous: options.anonymous, own };
      const res = await send(call);
      const what = `${method} ${to.pathname}`;
      if (res.type === "opaqueredirect") throw new HoldfastError("INVALID_ARGUMENT", `${what} was redirected: call the final address`);
      const text = await res.text().catch((cause) => {
        throw signal.aborted ? reason(signal) : new HoldfastError("NETWORK", `The answer to ${what} is cut off`, { cause });
      });
      if (res.ok) return { res, text };
      throw refusal(res, text, {
        what: call.oneShot ? `${what}, not sent again since its body is a stream,` : what,
        strict: own,
        now: clock(platform),
      });
    };
    try {
      return await until(work(), signal);
    } finally {
      done();
    }
  }

  const typed = async (method: string, path: string, body: unknown, options?: RequestOptions): Promise<any> => {
    const { res, text } = await whole(method, join(base(), path), body, options);
    return text ? parse(res, text) : undefined;
  };

  return {
    get: (path, options) => typed("GET", path, null, options),
    post: (path, body, options) => typed("POST", path, body, options),
    put: (path, body, options) => typed("PUT", path, body, options),
    patch: (path, body, options) => typed("PATCH", path, body, options),
    delete: (path, options) => typed("DELETE", path, null, options),
    async fetch(path, init = {}) {
      const timeout = config.timeout || 30_000;
      const { signal, done } = limit(init.signal, timeout);
      try {
        return await until(send({ method: (init.method ?? "GET").toUpperCase(), url: join(base(), path), init, signal, timeout }), signal);
      } finally {
        done(true); // the caller's signal still ends the reading of the body
      }
    },
    async own(path, body, token, signal) {
      const { res, text } = await whole(
        "POST",
        join(deps.url(), path),
        body,
        { anonymous: true, ...(token && { headers: { [auth]: "Bearer " + token } }), ...(signal && { signal }) },
        true,
      );
      return { data: text && parse(res, text), date: Date.parse(res.headers.get("Date")!) };
    },
  };
}

/** Text that is not called JSON is what it is. */
function parse(res: Response, text: string): any {
  if (!/json/i.test(res.headers.get("Content-Type") ?? "json")) return text;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new HoldfastError("INTERNAL", "The answer is no JSON", { status: res.status, cause });
  }
}
