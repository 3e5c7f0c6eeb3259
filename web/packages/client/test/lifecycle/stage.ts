import { IDBFactory } from "fake-indexeddb";
import type { Code } from "../../src/codes.js";
import { createTestPlatform, createTestServer, paths, type TestServer } from "../../src/testing/index.js";
import { Actor } from "./actor.js";
import { advance, dice, settle } from "./clock.js";
import { check } from "./expect.js";
import type { Scenario, Step } from "./scenario.js";

/** How often something is looked at that may take its time, in ms. */
const look = 20;

/** Where one case is played. Time has to be faked. */
export class Stage {
  readonly server: TestServer;
  readonly #actors = new Map<string, Actor>();
  readonly #first: Actor;
  readonly #scenario: Scenario;

  /** `seed` is for the client's random waits. */
  constructor(scenario: Scenario, seed = 1) {
    this.#scenario = scenario;
    const { clients = ["a"], shared, skew, source, user = "", ...config } = scenario.config;
    const { lifetime, opaque, noExpiry, keepRefresh, plain, csrf } = config;
    this.server = createTestServer({
      ...(lifetime !== undefined && { lifetime }), ...(opaque && { opaque }), ...(noExpiry && { noExpiry }),
      ...(keepRefresh && { keepRefresh }), ...(plain && { plain }), ...(csrf && { csrf }),
      claims: () => ({ rooms: ["**", "!secret-**"], actions: ["todo.write"] }),
    });
    this.server.skew(skew ?? 0);
    const profile = () =>
      createTestPlatform({ server: this.server, indexedDB: new IDBFactory(), random: dice(seed) });
    const common = profile();
    for (const name of clients) {
      const platform = shared ? common : profile();
      if (source === "cookie") platform.cookies.take(`session=${this.server.signIn(user).accessToken}; Path=/; HttpOnly`);
      this.#actors.set(name, new Actor(name, scenario.config, this.server, platform.tab()));
    }
    this.#first = this.#actors.values().next().value!;
  }

  /** Plays up to the first step with a fault, and returns its faults. */
  async play(): Promise<string[]> {
    await settle();
    for (const [i, step] of this.#scenario.steps.entries()) {
      const faults = await this.#step(step);
      if (faults.length > 0) return faults.map((f) => `step ${i + 1} (${JSON.stringify(step).slice(0, 200)}): ${f}`);
    }
    return [...this.#actors.values()].flatMap((a) =>
      a.silent.map((o) => `at the end, ${a.name}: ${JSON.stringify(o.step)} has not ended`),
    );
  }

  async end(): Promise<void> {
    for (const a of this.#actors.values()) a.close();
    this.server.stop();
    await settle();
  }

  /** Does one thing, lets it settle, and returns what is wrong. */
  async #step(s: Step): Promise<string[]> {
    const a = s.by === undefined ? this.#first : this.#actors.get(s.by);
    if (!a) return [`there is no client ${s.by}`];
    if (s.expect) return this.#expect(a, s);
    try {
      if (s.advance) await advance(s.advance);
      else if (s.server !== undefined) this.#misbehave(s);
      else a.do(s);
    } catch (e) {
      return [String(e)];
    }
    await settle();
    return [...this.#actors.values()].flatMap((actor) => actor.failed());
  }

  async #expect(a: Actor, s: Step): Promise<string[]> {
    const deadline = Date.now() + (s.within ?? 0);
    for (;;) {
      await settle();
      const faults = check(a, this.server, s.expect!);
      if (faults.length === 0 || Date.now() >= deadline) return faults;
      await advance(look);
    }
  }

  #misbehave(s: Step): void {
    const { server } = this;
    const path = paths[s.path as keyof typeof paths] ?? s.path;
    const { times = 1, for: time = 0, code = "" } = s;
    const some = (n: number) => {
      if (n === 0) throw new Error("there is no connection");
    };
    switch (s.server) {
      case "fail": {
        const { status, retryAfter, times: left } = s;
        return server.fail(path, {
          ...(status && { status }), ...(code && { code: code as Code }), ...(retryAfter && { retryAfter }),
          ...(left && { times: left }), ...(time && { for: time }),
        });
      }
      case "slow":
        return server.slow(path, time);
      case "slowReplies":
        return server.slowReplies(path, time);
      case "dropRequests":
        return server.dropRequests(path, times);
      case "dropReplies":
        return server.dropReplies(path, times);
      case "dropAcks":
        return server.dropAcks(times);
      case "refuseFresh":
        return server.refuseFresh(times);
      case "refuse":
        return server.refuse(code as Code, times);
      case "expire":
        return server.expire();
      case "heal":
        return server.heal();
      case "revoke":
        return server.revoke(s.user!);
      case "bump":
        return server.bump(s.user!);
      case "skew":
        return server.skew(time);
      case "forgetCSRF":
        return server.forgetCSRF();
      case "close":
        return some(server.close(s.status!, code));
      case "end":
        return some(server.end(code as Code));
      case "vanish": {
        const { how = "cut" } = s;
        if (how !== "cut" && how !== "midFrame" && how !== "silent") throw new Error(`unknown: vanish ${how}`);
        return some(server.vanish(how));
      }
      case "stop":
        return server.stop({ wipe: s.how === "wipe" });
      case "start":
        return server.start();
      case "publish":
        return void server.publish(s.room!, s.event!, s.data);
      default:
        throw new Error(`unknown: server ${s.server}`);
    }
  }
}
