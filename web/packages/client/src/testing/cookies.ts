/** One cookie of a profile. */
interface Cookie {
  name: string;
  value: string;
  path: string;
  httpOnly: boolean;
}

/** The cookies that a browser keeps of one server. */
export class CookieJar {
  #cookies: Cookie[] = [];

  /** Takes a Set-Cookie line. */
  take(line: string): void {
    const [pair = "", ...attributes] = line.split(";").map((s) => s.trim());
    const [name = "", value = ""] = pair.split("=");
    const attribute = (key: string) => attributes.find((a) => a.toLowerCase().startsWith(key));
    const path = attribute("path=")?.slice(5) ?? "/";
    this.#cookies = this.#cookies.filter((c) => c.name !== name || c.path !== path);
    if (attribute("max-age=") === "Max-Age=0") return;
    this.#cookies.push({ name, value, path, httpOnly: attribute("httponly") !== undefined });
  }

  /** The Cookie header for a path; "" for none. */
  header(path: string): string {
    return this.#text((c) => path.startsWith(c.path));
  }

  /** What `document.cookie` shows. */
  get visible(): string {
    return this.#text((c) => !c.httpOnly && c.path === "/");
  }

  #text(matches: (c: Cookie) => boolean): string {
    return this.#cookies
      .filter(matches)
      .map((c) => `${c.name}=${c.value}`)
      .join("; ");
  }
}

/** The value of a cookie in a Cookie header. */
export function cookieOf(header: string | null, name: string): string | undefined {
  const found = (header ?? "").split("; ").find((c) => c.startsWith(name + "="));
  return found?.slice(name.length + 1);
}
