import type { ReactNode } from "react";
import "./account.css";

/** The way in: password, code, passkey; or a new account. */
export function SignIn() {
  return <main className="main" />;
}

/** Covers the page when nobody has been active for the time of `settings.ts`; the user's password or passkey takes it away. */
export function Lock({ children }: { children: ReactNode }) {
  return children;
}

/** Who is signed in, themes, the account's pages, sign-out. */
export function UserMenu() {
  return null;
}

/** The user's sessions on all devices; ending one ends its connections at once. */
export function Devices() {
  return null;
}

/** Second factor, passkeys, password, idle time. */
export function Security() {
  return null;
}

/** Takes a link's invitation, and goes to its board. */
export function Join(_: { token: string }) {
  return null;
}
