import type { BrowserContext, Page } from "playwright-core";
import { beforeEach, describe, expect, test } from "vitest";
import { tab, world, type Seen } from "./world.js";

const w = world();
const room = "/api/rooms/board/events";

let profile: BrowserContext;
let page: Page; // the victim's own
let signedIn = 0;

beforeEach(async () => {
  profile = await w.profile();
  page = await tab(profile, w.stage.accounts);
  await page.evaluate(async (email) => {
    start({ auth: { cookie: true } });
    const login = { email, password: "correct horse battery" };
    client.auth!.setTokens(await client.http.post("/api/auth/sign-up", login, { anonymous: true }));
  }, `victim${++signedIn}@example.com`);
});

const recorded = async (): Promise<Seen[]> => (await w.stage.do("recorded")).requests;

/** All that an attack could change, as the server has it. */
async function state(): Promise<unknown> {
  const own = await page.evaluate(async () => {
    const read = async (path: string) => (await fetch(path)).json();
    const { events } = await read("/api/rooms/board/history");
    const { user } = await read("/api/auth/session");
    const { sessions } = await read("/api/auth/sessions");
    return [events, user, sessions.map((s: any) => s.id)];
  });
  return [own, (await w.stage.state()).added];
}

/** What an attack has made of it: what came to the server, and what the attacker's page could read. */
interface Attack {
  requests: Seen[];
  read: unknown;
}

async function attack<A>(from: Page, run: (target: A) => unknown, target: A, more = 1): Promise<Attack> {
  const before = (await recorded()).length;
  const read = await from.evaluate(run as any, target);
  let requests: Seen[] = [];
  await expect
    // A refusal is done when its code is known.
    .poll(async () => (requests = (await recorded()).slice(before)).filter((r) => r.status && (r.status < 400 || r.code)).length)
    .toBeGreaterThanOrEqual(more);
  return { requests, read };
}

// What a page does to a server. Each returns what it could learn, which is nothing.

const postForm = ([url, enctype, name, value, window]: readonly [string, string, string, string, boolean?]) => {
  const form = document.createElement("form");
  const frame = document.createElement("iframe");
  frame.name = `hole${document.forms.length}`;
  Object.assign(form, { method: "post", action: url, enctype, target: window ? "_blank" : frame.name });
  const input = document.createElement("input");
  Object.assign(input, { type: "hidden", name, value });
  form.append(input);
  document.body.append(frame, form);
  const done = new Promise<unknown>((resolve) => {
    if (window) resolve("nothing"); // no page can look into such a window
    frame.onload = () => {
      let text: unknown = "nothing";
      try {
        text = frame.contentDocument?.body.textContent || "nothing";
      } catch {
        // of another origin
      }
      resolve(text);
    };
  });
  form.submit();
  return done;
};

const call = ([url, init]: readonly [string, RequestInit]) =>
  fetch(url, { credentials: "include", ...init }).then(
    async (res) => (await res.text()) || "nothing",
    () => "nothing",
  );

const dial = ([url, say]: readonly [string, string[]]) =>
  new Promise<unknown>((resolve) => {
    const ws = new WebSocket(url);
    const heard: unknown[] = [];
    ws.onmessage = ({ data }) => {
      heard.push(data);
      if (heard.length > say.length) ws.close();
      else ws.send(say[heard.length - 1]!);
    };
    ws.onclose = ({ code }) => resolve(heard.length ? heard : code === 1006 ? "nothing" : code);
  });

const listen = (url: string) =>
  new Promise<unknown>((resolve) => {
    const stream = new EventSource(url, { withCredentials: true });
    const end = (what: unknown) => {
      stream.close();
      resolve(what);
    };
    stream.addEventListener("connected", (e) => end(e.data));
    stream.onerror = () => end("nothing");
  });

const json = JSON.stringify({ event: "stolen", data: { by: "attacker" } });
const text = { method: "POST", headers: { "Content-Type": "text/plain" }, body: json };
const simple: RequestInit = { mode: "no-cors", ...text };
const preflighted: RequestInit = { method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": "guess" }, body: json };
const pollingUrl = "/socket.io/?EIO=4&transport=polling";

for (const site of ["same-site", "cross-site"] as const)
  describe(`from a page of another origin, ${site}`, () => {
    let foe: Page;
    let before: unknown;
    const cookies = site === "same-site"; // SameSite=Lax keeps them from the other's requests

    beforeEach(async () => {
      const { port } = new URL(w.stage.other);
      foe = await tab(profile, site === "same-site" ? w.stage.other : `http://localhost:${port}`, "blank.html");
      before = await state();
    });

    /** The requests were refused, nothing was read, and nothing has changed. */
    async function refused({ requests, read }: Attack, ...wanted: string[]): Promise<void> {
      const origin = new URL(foe.url()).origin;
      expect(requests.map((r) => `${r.method} ${r.path} ${r.status} ${r.code}`)).toEqual(wanted);
      for (const r of requests) {
        if (r.method !== "OPTIONS") expect(r.cookie, `${r.method} ${r.path} with the session's cookie`).toBe(cookies);
        expect(["", origin]).toContain(r.origin);
      }
      expect(read).toBe("nothing");
      expect(await state()).toEqual(before);
      expect(await page.evaluate(() => client.http.get("/app/me"))).toHaveProperty("user");
    }

    const at = (path: string) => w.stage.accounts + path;
    const ws = (path: string) => at(path).replace("http", "ws");
    const no = "403 ORIGIN_NOT_ALLOWED";

    test("a form that signs out, and one that publishes, are refused", async () => {
      const plain = "application/x-www-form-urlencoded";
      await refused(await attack(foe, postForm, [at("/api/auth/sign-out"), plain, "a", "b"]), `POST /api/auth/sign-out ${no}`);
      // A form can send what looks like JSON.
      const fields = ["text/plain", json.slice(0, -1) + ',"pad":"', '"}'] as const;
      await refused(await attack(foe, postForm, [at(room), ...fields]), `POST ${room} ${no}`);
      await refused(await attack(foe, postForm, [at("/app/me"), ...fields]), `POST /app/me ${no}`);
      await refused(await attack(foe, postForm, [at("/api/auth/sign-out"), plain, "a", "b", true]), `POST /api/auth/sign-out ${no}`);
    });

    test("fetch with credentials is refused: simple, preflighted and of the token", async () => {
      await refused(await attack(foe, call, [at(room), simple]), `POST ${room} ${no}`);
      await refused(await attack(foe, call, [at(room), text]), `POST ${room} ${no}`);
      await refused(await attack(foe, call, [at("/api/realtime/token"), { method: "POST" }]), `POST /api/realtime/token ${no}`);
      await refused(await attack(foe, call, [at("/api/auth/refresh"), { method: "POST" }]), `POST /api/auth/refresh ${no}`);
      // The browser asks first, and does not send the call itself.
      for (const path of [room, "/api/auth/sign-out"]) {
        const { requests, read } = await attack(foe, call, [at(path), preflighted]);
        expect(requests.map((r) => `${r.method} ${r.path}`)).toEqual([`OPTIONS ${path}`]);
        expect(read).toBe("nothing");
      }
      expect(await state()).toEqual(before);
      // What only reads is answered, and the page can't see it.
      const { requests, read } = await attack(foe, call, [at("/api/auth/session"), {}]);
      expect(requests.map((r) => r.cookie)).toEqual([cookies]);
      expect(read).toBe("nothing");
    });

    test("a WebSocket with the session's cookie is refused, at /socket.io/, /ws and /ws/topic", async () => {
      const say = ["40", '42["add","stolen"]'];
      await refused(await attack(foe, dial, [ws("/socket.io/?EIO=4&transport=websocket"), say]), `GET /socket.io/ ${no}`);
      for (const path of ["/ws", "/ws/topic"]) await refused(await attack(foe, dial, [ws(path), say]), `GET ${path} ${no}`);
    });

    test("polling is refused: GET and POST of Engine.IO, and GET /poll", async () => {
      await refused(await attack(foe, call, [at(pollingUrl), {}]), `GET /socket.io/ ${no}`);
      await refused(await attack(foe, call, [at(pollingUrl), { mode: "no-cors" }]), `GET /socket.io/ ${no}`);
      await refused(await attack(foe, call, [at("/poll?room=board&wait=0"), {}]), `GET /poll ${no}`);
      // A POST into a session that the victim has, of which the attacker knows even the id.
      const open = await page.evaluate(async (url) => (await fetch(url)).text(), pollingUrl);
      const { sid } = JSON.parse(open.slice(1));
      const post = { ...simple, body: "40" };
      await refused(await attack(foe, call, [at(`${pollingUrl}&sid=${sid}`), post]), `POST /socket.io/ ${no}`);
      await refused(await attack(foe, call, [at(pollingUrl), post]), `POST /socket.io/ ${no}`);
    });

    test("an EventSource is refused", async () => {
      await refused(await attack(foe, listen, at("/events?room=board")), `GET /events ${no}`);
    });
  });

test("the same from the own page works: so that the refusals above are of the origin", async () => {
  const before = JSON.stringify(await state());
  const csrf = await page.evaluate(async () => (await (await fetch("/api/auth/csrf")).json()).csrfToken);
  const ok = ({ requests }: Attack) => requests.map((r) => `${r.method} ${r.path} ${r.status} ${r.code} ${r.cookie}`);
  const signed: RequestInit = { method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf }, body: json };

  // Cookie and origin are good, and a form's POST still lacks what only a script of the page can send.
  expect(ok(await attack(page, call, [room, text]))).toEqual([`POST ${room} 403 CSRF_MISMATCH true`]);
  expect(ok(await attack(page, postForm, [room, "text/plain", json.slice(0, -1) + ',"pad":"', '"}']))).toEqual([
    `POST ${room} 403 CSRF_MISMATCH true`,
  ]);
  const published = await attack(page, call, [room, signed]);
  expect(ok(published)).toEqual([`POST ${room} 200  true`]);
  expect(published.read).toContain("epoch");
  const token = await attack(page, call, ["/api/realtime/token", { method: "POST" }]);
  expect(ok(token)).toEqual(["POST /api/realtime/token 200  true"]);
  expect(token.read).toContain("accessToken");

  const own = w.stage.accounts.replace("http", "ws");
  const socket = await attack(page, dial, [own + "/socket.io/?EIO=4&transport=websocket", ["40", "", '42["add","own"]']]);
  expect(ok(socket)).toEqual(["GET /socket.io/ 101  true"]);
  expect((socket.read as string[])[2]).toContain("victim");
  for (const path of ["/ws", "/ws/topic"]) {
    const plain = await attack(page, dial, [own + path, []]);
    expect(ok(plain)).toEqual([`GET ${path} 101  true`]);
    expect(String(plain.read)).toContain("authenticated");
  }

  const open = await attack(page, call, [pollingUrl, {}]);
  expect(ok(open)).toEqual(["GET /socket.io/ 200  true"]);
  const { sid } = JSON.parse((open.read as string).slice(1));
  const post = await attack(page, call, [`${pollingUrl}&sid=${sid}`, { ...text, body: "40" }]);
  expect(ok(post)).toEqual(["POST /socket.io/ 200  true"]);
  const poll = await attack(page, call, ["/poll?room=board&wait=0", {}]);
  expect(ok(poll)).toEqual(["GET /poll 200  true"]);
  expect(poll.read).toContain("cursor");
  expect((await attack(page, listen, "/events?room=board")).read).toContain('"type":"connected"');

  expect(JSON.stringify(await state())).not.toBe(before);
  const out = await attack(page, call, ["/api/auth/sign-out", signed]);
  expect(ok(out)).toEqual(["POST /api/auth/sign-out 200  true"]);
  expect(await page.evaluate(async () => (await fetch("/api/auth/session")).json())).toBe(null);
});
