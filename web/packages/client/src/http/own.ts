import { reason, sleep, until, within } from "../abort.js";
import { local, signedOut, unloaded } from "../errors.js";
import type { Platform } from "../platform.js";
import { answered, parse } from "../refusal.js";
import { clock, part, random } from "../surroundings.js";
import type { CsrfConfig, HttpClient, HttpConfig, RequestOptions, TokenSource } from "../types.js";

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
 * hooks are. `body` is the answer's, read. Errors are strict: see `answered`.
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
  /** Loads the code of calls, if it is not there. A load that fails is tried again by who needs it. */
  load: () => Promise<unknown>;
}

/** The milliseconds that a call may take. */
export const timeoutOf = ({ config }: HttpDeps): number => config?.timeout || 30_000;

/** A path after a base; a URL is taken as it is. */
export const join = (base: string, path: string): string =>
  /^https?:\/\//i.test(path) ? path : base.replace(/\/+$/, "") + path.replace(/^\/*(?=.)/s, "/");

/** What the network says, or the signal where that has ended it. */
const reached = <T>(promise: Promise<T>, signal: AbortSignal) =>
  promise.catch((cause) => {
    throw signal.aborted ? reason(signal) : local("NETWORK", "No answer", undefined, cause);
  });

/**
 * Sends one request. What is ours goes to our origins alone; `add` puts more
 * of it into the headers. `fixed`: it is not redirected.
 */
export async function dispatch(
  { url, config = {}, withCredentials, platform }: HttpDeps,
  request: Request | string,
  init: RequestInit,
  signal: AbortSignal,
  add?: (headers: Headers) => Promise<unknown>,
): Promise<{ res: Response; sent: Request; ours: boolean }> {
  const { baseUrl = "", headers: extra, trustedOrigins = [] } = config;
  const made = typeof request !== "string";
  const headers = new Headers((made ? request : init).headers);
  const { origin } = new URL(made ? request.url : request);
  const ours = [url(), new URL(baseUrl, url()), ...trustedOrigins].some((one) => new URL(one).origin === origin);
  if (ours) for (const name in extra) if (!headers.has(name)) headers.set(name, extra[name]!);
  const secret = (ours && (await add?.(headers))) || !add || (ours && extra);
  const fetch = part(platform, "fetch")!;
  // The constructor keeps of a request what is not said anew.
  const sent = new Request(request, {
    ...(!made && { ...init, signal }),
    headers,
    credentials: !ours ? "omit" : withCredentials ? "include" : (init.credentials ?? "same-origin"),
    // A redirect to another origin loses its Authorization in `fetch` itself (the standard's HTTP-redirect fetch), and no
    // cookie of ours is that origin's. Other headers would go along, and a script can't look where a redirect leads:
    // what carries a CSRF token or the application's headers is not redirected at all, nor what may have a refresh token
    // in its body.
    redirect: init.redirect ?? (secret ? "manual" : "follow"),
  });
  return { res: await reached(fetch(sent), signal), sent, ours };
}

/** What the code that is loaded later is given, as it imports nothing of the core. */
export const kit = { answered, clock, dispatch, join, local, random, reached, signedOut, sleep, timeoutOf, until, within };

/** Makes an HTTP client. Nothing is called yet, and its code is loaded by the first call. */
export function createHttp(deps: HttpDeps): Http {
  const timeout = timeoutOf(deps);
  let loading: Promise<Omit<Http, "load">> | undefined;
  const load = () =>
    (loading ??= import("./http.js").then(
      (m) => m.openHttp(deps, kit),
      (e) => {
        loading = undefined;
        throw unloaded(e);
      },
    ));
  const late =
    (name: keyof HttpClient) =>
    async (...args: [any, any?, any?]): Promise<any> => {
      const { signal }: RequestOptions = args[name[0] === "p" ? 2 : 1] ?? {};
      return ((await within(signal, timeout, load))[name] as any)(...args);
    };
  const calls = ["get", "post", "put", "patch", "delete", "fetch"] as const;
  return {
    ...(Object.fromEntries(calls.map((name) => [name, late(name)])) as unknown as HttpClient),
    load,
    // A page stays signed in without that code, as a deployment may have taken it away. A CSRF token is its matter.
    own: async (...args) => {
      if (deps.csrf) return (await load()).own(...args);
      const [method, path, body, token, signal] = args;
      return within(signal, timeout, async (signal) => {
        const type = "application/json";
        const headers: Record<string, string> = { Accept: type };
        if (body) headers["Content-Type"] = type;
        if (token) headers["Authorization"] = `Bearer ${token}`;
        const { res } = await dispatch(
          deps,
          join(deps.url(), path),
          // A page may go while it signs out; the server is to hear of it all the same.
          { method, headers, body: (body && JSON.stringify(body)) as string, keepalive: true },
          signal,
        );
        const text = await reached(res.text(), signal);
        if (!res.ok) throw answered(res, text, `${method} ${path}`, clock(deps.platform));
        return { res, body: parse(text) };
      });
    },
  };
}
