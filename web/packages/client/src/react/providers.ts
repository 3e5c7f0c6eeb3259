"use client";
import {
  createContext,
  createElement,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
  type ReactElement,
  type ReactNode,
} from "react";
import { createRealtimeClient, type RealtimeClient } from "../index.js";
import type { HttpClient, RealtimeClientConfig } from "../types.js";
import { useLatest } from "./latest.js";
import type { AuthState, AuthStore, ClientLike, Events, SignIn } from "./types.js";

interface AuthContextValue {
  auth: AuthStore;
  signIn: { readonly current: SignIn | undefined };
}

const ClientContext = /* @__PURE__ */ createContext<ClientLike | undefined>(undefined);
const AuthContext = /* @__PURE__ */ createContext<AuthContextValue | undefined>(undefined);

function must<T>(value: T | undefined): T {
  if (!value) throw new Error("No provider above this hook");
  return value;
}

/** A RealtimeProvider has a client, or what to make one of. */
export type RealtimeProviderProps = {
  /** Connects when it is shown, and again after each sign-in. Default true. */
  autoConnect?: boolean | undefined;
  children?: ReactNode;
} & (
  | {
      /** One that the application made; nothing closes it here. Another one may take its place. */
      client: ClientLike;
      config?: never;
    }
  | {
      client?: never;
      /** The provider makes a client of it, once, and closes it when it goes. Later changes of it have no effect. */
      config: RealtimeClientConfig;
    }
);

/** Gives a client to the hooks below it and, where the client has an AuthManager, that one to useAuth and guards. */
export function RealtimeProvider({
  client,
  config,
  autoConnect = true,
  children,
}: RealtimeProviderProps): ReactElement {
  const make = () => config && createRealtimeClient(config);
  const [own, renew] = useState(make);
  const shown: ClientLike = (client ?? own)!;
  const alive = useRef(false);
  useEffect(() => {
    // What becomes of it is in ConnectionState.
    const connect = () => void shown.socket.connect().catch(() => {});
    const off = autoConnect && shown.auth?.on("sign-in", connect);
    if (autoConnect) connect();
    alive.current = true;
    return () => {
      if (off) off();
      alive.current = false;
      // StrictMode takes a component away and brings it back at once: the connection stays.
      // One that comes back later (a hidden page) has another client then.
      queueMicrotask(() => {
        if (alive.current || !own) return;
        own.close();
        renew(make);
      });
    };
  }, [shown, own, autoConnect]);
  return createElement(
    ClientContext.Provider,
    { value: shown },
    shown.auth ? createElement(AuthProvider, { auth: shown.auth, children }) : children,
  );
}

/** Whose session an AuthProvider shows, and how one signs in. */
export interface AuthProviderProps {
  auth: AuthStore;
  /** What `useAuth().signIn` does: it calls the server, and returns the tokens that it got. */
  signIn?: SignIn | undefined;
  children?: ReactNode;
}

/** Gives an AuthManager to useAuth and guards. RealtimeProvider does so for its client's: it is needed for `signIn`, or without a client. */
export function AuthProvider({ auth, signIn, children }: AuthProviderProps): ReactElement {
  const latest = useLatest(signIn);
  useEffect(() => {
    // Whether there is a session cookie, one has to ask.
    if (auth.getSnapshot().pending) auth.getAccessToken().catch(() => {});
  }, [auth]);
  const value = useMemo(() => ({ auth, signIn: latest }), [auth, latest]);
  return createElement(AuthContext.Provider, { value }, children);
}

/** The client of the provider above. */
export function useRealtimeClient(): RealtimeClient<Events> {
  return must(useContext(ClientContext)) as RealtimeClient<Events>;
}

/** The HTTP client of the provider above. */
export function useHttpClient(): HttpClient {
  return useRealtimeClient().http;
}


/** What useAuth gives: the session, and what can be done about it. */
export interface Auth extends AuthState {
  /** Whether the user has the role, or one of them. */
  hasRole: (role: string | readonly string[]) => boolean;
  /** Whether the access token permits an action. The server decides in the end. */
  can: (action: string) => boolean;
  /** Calls the provider's `signIn` and keeps the tokens that it returns. Rejects with what that rejects with. */
  signIn: (...args: any[]) => Promise<void>;
  signOut: () => Promise<void>;
  refresh: () => Promise<void>;
}

const nobody: AuthState = { isAuthenticated: false, user: undefined, sessionId: undefined, pending: true };

/**
 * Who is signed in. The same object until the session changes, or is renewed.
 * On a server, and while a page that came from one is made alive: nobody, and
 * `pending`.
 */
export function useAuth(): Auth {
  const { auth, signIn } = must(useContext(AuthContext));
  const state = useSyncExternalStore(
    useMemo(() => auth.subscribe.bind(auth), [auth]),
    () => auth.getSnapshot(),
    () => nobody,
  );
  return useMemo(
    () => ({
      ...state,
      hasRole: (role) => state.isAuthenticated && auth.hasRole(role),
      can: (action) => state.isAuthenticated && auth.can(action),
      signIn: async (...args) => {
        if (!signIn.current) throw new Error("<AuthProvider> has no signIn");
        await auth.setTokens(await signIn.current(...args));
      },
      signOut: () => auth.clear(),
      refresh: () => auth.refresh(),
    }),
    [auth, signIn, state],
  );
}

/** What a guard shows. */
export interface GuardProps {
  /** Shown to those who may see it. */
  children?: ReactNode;
  /** Shown to the others. Default: nothing. */
  fallback?: ReactNode;
  /** Called once it is known that somebody may not see it: navigates elsewhere. */
  redirect?: (() => void) | undefined;
}

function useGuard(allows: (auth: Auth) => boolean, props: GuardProps): ReactNode {
  const auth = useAuth();
  const { pending } = auth;
  const allowed = allows(auth);
  const redirect = useLatest(props.redirect);
  useEffect(() => {
    if (!pending && !allowed) redirect.current?.();
  }, [pending, allowed, redirect]);
  return allowed ? props.children : props.fallback;
}

/** For those who are signed in. It hides; what it hides must be guarded by the server. */
export function AuthGuard(props: GuardProps): ReactNode {
  return RoleGuard(props);
}

/** For those who are not, such as a sign-in page. On a server everybody is a guest. */
export function GuestGuard(props: GuardProps): ReactNode {
  return useGuard((auth) => !auth.isAuthenticated, props);
}

/** What a RoleGuard shows, and to whom. Without a role and an action: to everybody who is signed in. */
export interface RoleGuardProps extends GuardProps {
  /** One of these. */
  role?: string | readonly string[] | undefined;
  /** And this action. */
  can?: string | undefined;
}

/** For those with a role, or the right to an action. */
export function RoleGuard(props: RoleGuardProps): ReactNode {
  const { role, can } = props;
  return useGuard(
    (auth) => auth.isAuthenticated && (!role || auth.hasRole(role)) && (!can || auth.can(can)),
    props,
  );
}
