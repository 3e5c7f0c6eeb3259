// The calls of accounts (docs/protocol.md §3), and what they answer. Times are
// epoch milliseconds.
import type { HttpClient, Tokens } from "@holdfast/client";
import { createPasskey, getPasskey } from "./passkey.js";

/** What a sign-in says: who it is now, or that a code is wanted as well. */
export type Entry = Tokens | { requires2fa: true };

export interface Session {
  id: string;
  userAgent?: string;
  addr?: string;
  createdAt: number;
  lastUsedAt: number;
  expiresAt: number;
  /** It is the one that asks. */
  current: boolean;
}

/** What an account has to sign in with. */
export interface Account {
  /** A second factor is on. */
  totp: boolean;
  /** There is a password. */
  password: boolean;
}

export interface Passkey {
  id: string;
  name?: string;
  createdAt: number;
  lastUsedAt?: number;
}

export interface Credentials {
  email: string;
  password: string;
  name?: string;
  totpCode?: string;
}

// Nobody is signed in yet: no token goes along, and a refusal is an answer.
const anonymous = { anonymous: true };

/** Signs in, with cookies that no script can read. */
export const signIn = (http: HttpClient, who: Credentials): Promise<Entry> =>
  http.post("/api/auth/sign-in", { ...who, mode: "cookie" }, anonymous);

/** Makes an account, and signs in. */
export const signUp = (http: HttpClient, who: Credentials): Promise<Entry> =>
  http.post("/api/auth/sign-up", { ...who, mode: "cookie" }, anonymous);

/** Options that a passkey answers. Without an address every passkey of this site will do. */
export const challenge = (http: HttpClient, email?: string): Promise<PasskeyOptions> =>
  http.post("/api/auth/passkeys/challenge", email ? { email } : {}, anonymous);

export interface PasskeyOptions {
  publicKey: PublicKeyCredentialRequestOptionsJSON;
}

/** Signs in with a passkey. `quiet`: the browser offers it in the form, and asks nobody. */
export async function passkeySignIn(http: HttpClient, options: { signal?: AbortSignal; quiet?: boolean } = {}): Promise<Tokens> {
  const { publicKey } = await challenge(http);
  const credential = await getPasskey(publicKey, options);
  return http.post("/api/auth/passkeys/verify", { credential, mode: "cookie" }, anonymous);
}

/** Adds a passkey to the account. */
export async function addPasskey(http: HttpClient, name: string): Promise<Passkey> {
  const { publicKey } = await http.post("/api/auth/passkeys/register/begin", {});
  const credential = await createPasskey(publicKey);
  return http.post("/api/auth/passkeys/register/finish", { name, credential });
}

/**
 * Proves that whoever is at the keyboard is the user, by a sign-in of its own
 * that is ended at once: the page's session stays as it is, in all tabs. It
 * has to be the user's own, of course. Rejects with INVALID_CREDENTIALS.
 */
export async function proveByPassword(http: HttpClient, email: string, password: string): Promise<void> {
  const entry: Entry = await http.post("/api/auth/sign-in", { email, password, mode: "token" }, anonymous);
  // That a code is wanted means that the password was right.
  if (!("requires2fa" in entry)) await endProof(http, entry);
}

/** As proveByPassword, by a passkey. False: it is another user's. */
export async function proveByPasskey(http: HttpClient, user: string, email: string): Promise<boolean> {
  const { publicKey } = await challenge(http, email);
  const credential = await getPasskey(publicKey, {});
  const tokens: Tokens = await http.post("/api/auth/passkeys/verify", { credential, mode: "token" }, anonymous);
  await endProof(http, tokens);
  return tokens.user?.id === user;
}

// Nobody keeps these tokens: where the server does not hear of the end, the session dies of itself.
const endProof = (http: HttpClient, { accessToken }: Tokens) =>
  http.post("/api/auth/sign-out", {}, { headers: { Authorization: `Bearer ${accessToken}` } }).catch(() => {});
