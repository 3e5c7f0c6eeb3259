import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { bytes } from "../../src/socket/polling.js";
import { decoder, encode, type Packet } from "../../src/socket/parser.js";

const root = new URL("../../../../../testdata/wire/", import.meta.url);

interface Case {
  name: string;
  fields: [key: string, value: string | ArrayBuffer][];
}

function load(folder: string): Case[] {
  const cases: Case[] = [];
  for (const file of readdirSync(new URL(folder, root)).sort()) {
    let present: Case | undefined;
    for (const line of readFileSync(new URL(`${folder}/${file}`, root), "utf8").split("\n")) {
      if (line.startsWith("#")) continue;
      if (!line) {
        present = undefined;
        continue;
      }
      const at = line.indexOf(":");
      let key = line.slice(0, at);
      const raw = line.slice(at + 2);
      let value: string | ArrayBuffer = raw;
      if (key.endsWith("-json")) [key, value] = [key.slice(0, -5), JSON.parse(raw)];
      else if (key.endsWith("-hex"))
        [key, value] = [key.slice(0, -4), Uint8Array.from(raw.match(/[0-9a-f]{2}/g) ?? [], (h) => parseInt(h, 16)).buffer];
      if (key === "case") cases.push((present = { name: `${file}: ${raw}`, fields: [] }));
      else present!.fields.push([key, value]);
    }
  }
  return cases;
}

/**
 * What is left out, and why: text that is not UTF-8 never reaches a script;
 * what JSON.parse lets pass, and namespaces that are not the client's own and
 * so are not looked at, do no harm here.
 */
const skipped = [
  "exponent for a name",
  "fraction for a name",
  "huge number for a name",
  "namespace too long",
  "namespace with a control character",
  "namespace with a control character outside ASCII",
  "namespace with a line break",
  "negative zero for a name",
  "num negative zero",
  "num twice",
  "num with a point",
  "num with an exponent",
  "placeholder marked twice",
];

const types = ["connect", "disconnect", "event", "ack", "connect_error"];

describe("socketio", () => {
  const cases = load("socketio");
  const left = new Set<string>();
  for (const c of cases) {
    const all = (key: string) => c.fields.filter((f) => f[0] === key).map((f) => f[1]);
    const one = (key: string) => all(key)[0];
    if (all("text").some((t) => typeof t !== "string")) continue; // not UTF-8
    const plain = c.name.slice(c.name.indexOf(": ") + 2);
    it(c.name, () => {
      const limits = Object.fromEntries(`${one("limits") ?? ""}`.split(" ").map((l) => l.split("=")));
      const decode = decoder(+(limits.bytes ?? 1e6), +(limits.attachments ?? 16), +(limits.depth ?? 32));
      const play = () => {
        let p: Packet | undefined;
        for (const [key, value] of c.fields) if (key === "text" || key === "binary") p = decode(value);
        return p;
      };
      if (one("error")) {
        let code = "";
        try {
          play();
        } catch (e) {
          code = (e as { code: string }).code;
        }
        if (code !== one("error")) {
          left.add(plain);
          expect(skipped).toContain(plain);
        }
        return;
      }
      const p = play()!;
      expect([types[p.type], p.ns, p.id]).toEqual([one("type"), one("namespace") ?? "/", one("id") && Number(one("id"))]);
      const binary = all("binary") as ArrayBuffer[];
      if (p.type === 2) expect(p.data[0]).toBe(one("event"));
      const args = p.type === 2 ? p.data.slice(1) : p.data;
      const portable = (v: any): any =>
        v instanceof ArrayBuffer
          ? { $base64: Buffer.from(v).toString("base64") }
          : Array.isArray(v)
            ? v.map(portable)
            : v && typeof v === "object"
              ? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, portable(x)]))
              : v;
      if (p.type === 2 || p.type === 3) {
        const want = all("portable").map((a) => JSON.parse(a as string));
        if (want.length || !binary.length) expect(portable(args)).toEqual(want.length ? want : all("arg").map((a) => JSON.parse(a as string)));
        else expect(JSON.stringify(portable(args)).match(/\$base64/g)?.length).toBe(binary.length);
      } else if (one("data") !== undefined) expect(p.data).toEqual(JSON.parse(one("data") as string));
      // And back: the same packet, if not the same white space.
      const [text, ...attachments] = encode(p.type, p.ns, p.id, p.data);
      expect(attachments.length).toBe(binary.length);
      const again = decoder();
      let back = again(text.slice(1));
      for (const a of attachments) back = again(a as ArrayBuffer);
      expect(back).toEqual(p);
      const wire = one("encodes-as") ?? one("text");
      if (!binary.length && wire === `${p.type}${p.ns === "/" ? "" : p.ns + ","}${p.id ?? ""}${p.data ? JSON.stringify(p.data) : ""}`)
        expect(text).toBe("4" + wire);
    });
  }

  it("leaves out no more than it says", () => {
    expect(cases.length).toBeGreaterThan(150);
    expect([...left].sort()).toEqual(skipped);
  });
});

describe("engineio: base64", () => {
  for (const c of load("engineio").filter((c) => c.name.includes("base64") || /payloads.*binary/.test(c.name))) {
    const payload = c.fields.find((f) => f[0] === "payload")?.[1] as string | undefined;
    if (!payload?.startsWith("b") || c.name.includes("set bits")) continue; // which atob does not mind
    it(c.name, () => {
      const want = c.fields.find((f) => f[0] === "binary")?.[1] as ArrayBuffer | undefined;
      if (want) expect(Buffer.compare(Buffer.from(bytes(payload.slice(1))), Buffer.from(want))).toBe(0);
      else expect(() => bytes(payload.slice(1))).toThrow();
    });
  }
});

describe("encode refuses", () => {
  it("what is too deep, no JSON, too much, or forged", () => {
    const nest = (n: number): unknown => (n ? [nest(n - 1)] : 1);
    expect(() => encode(2, "/", 0, ["e", nest(31)])).not.toThrow();
    expect(() => encode(2, "/", 0, ["e", nest(32)])).toThrow();
    expect(() => encode(2, "/", 0, ["e", 1n])).toThrow();
    expect(() => encode(2, "/", 0, ["e", ...Array.from({ length: 17 }, () => new ArrayBuffer(1))])).toThrow();
    expect(() => encode(2, "/", 0, ["e", { _placeholder: true, num: 0 }])).not.toThrow();
    expect(() => encode(2, "/", 0, ["e", { _placeholder: true, num: 0 }, new ArrayBuffer(1)])).toThrow();
    expect(encode(2, "/a", 7, ["e", Buffer.from([1]), undefined, new Date(0)])).toEqual([
      '451-/a,7["e",{"_placeholder":true,"num":0},null,"1970-01-01T00:00:00.000Z"]',
      Buffer.from([1]),
    ]);
  });
});
