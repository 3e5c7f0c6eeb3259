

import { local } from "../errors.js";

/** What goes out as bytes of its own beside an event's JSON. */
export type Binary = ArrayBuffer | ArrayBufferView | Blob;

/** A message of the transport: a packet in text form, or an attachment. */
export type Frame = string | Binary;

/** A packet as it goes out: in text form, and its attachments. */
export type Frames = [text: string, ...Binary[]];

/** A Socket.IO packet: 0 connect, 1 disconnect, 2 event, 3 ack, 4 connect error. Its attachments stand in `data`. */
export interface Packet {
  type: number;
  ns: string;
  id: number | undefined;
  data: any;
}

const isBinary = (v: unknown): v is Binary =>
  v instanceof ArrayBuffer || ArrayBuffer.isView(v) || (typeof Blob !== "undefined" && v instanceof Blob);

/**
 * Makes the frames of a packet, in an Engine.IO message. Throws
 * INVALID_ARGUMENT for what no JSON can carry, over 16 attachments or 32 levels.
 */
export function encode(type: number, ns: string, id?: number, data?: unknown): Frames {
  const found: Binary[] = [];
  const levels = new Map<unknown, number>();
  let forged = false;
  let text: string | undefined;
  try {
    text = JSON.stringify(data, function (this: any, key, value) {
      const raw = this[key]; // before its toJSON
      if (isBinary(raw)) return { _placeholder: true, num: found.push(raw) - 1 };
      if (value !== null && typeof value === "object") {
        const level = (levels.get(this) ?? 0) + 1;
        if (level > 32) throw level;
        levels.set(value, level);
        forged ||= value._placeholder === true;
      }
      return value;
    });
  } catch (e) {
    throw local("INVALID_ARGUMENT", "no JSON, or too deep", undefined, e);
  }
  const n = found.length;
  if (n > 16 || (n && forged)) throw local("INVALID_ARGUMENT", "too many attachments, or a forged one");
  return [`4${n ? `${type + 3}${n}-` : type}${ns === "/" ? "" : ns + ","}${id ?? ""}${text ?? ""}`, ...found];
}

/** Throws what a packet is answered with that makes no sense. */
export const bad = (): never => {
  throw local("PROTOCOL_ERROR", undefined, false);
};

/**
 * Makes the decoder of one connection. It takes text without the Engine.IO
 * type, and attachments; undefined: more is to come. Throws PROTOCOL_ERROR, or
 * MESSAGE_TOO_LARGE over `most` bytes of text and attachments.
 */
export function decoder(
  most = 2 << 20,
  attachments = 16,
  depth = 32,
): (frame: string | ArrayBuffer) => Packet | undefined {
  let waiting: Packet | undefined; // for attachments
  let slots: ([any, string | number] | undefined)[];
  let want: number;
  let have: number;
  let size: number;

  const grow = (n: number) => {
    size += n;
    if (size > most) {
      waiting = undefined;
      throw local("MESSAGE_TOO_LARGE", `Over ${most} bytes`, false);
    }
  };
  // Notes where attachments go. Without a count nothing is a placeholder.
  const walk = (holder: any, key: string | number, level: number, binary: boolean) => {
    const value = holder[key];
    if (value === null || typeof value !== "object") return;
    if (level > depth) bad();
    if (binary && value._placeholder === true) {
      const num = value.num;
      if (Object.keys(value).length !== 2 || !Number.isInteger(num) || num < 0 || num >= want || slots[num]) bad();
      slots[num] = [holder, key];
      have--;
    } else for (const k of Object.keys(value)) walk(value, k, level + 1, binary);
  };

  return (frame) => {
    if (typeof frame !== "string") {
      const p = waiting ?? bad();
      grow(frame.byteLength);
      const [holder, key] = slots[have++]!;
      holder[key] = frame;
      if (have < want) return;
      waiting = undefined;
      return p;
    }
    if (waiting) {
      waiting = undefined;
      bad();
    }
    size = 0;
    grow(frame.length);
    const p = { type: 2, ns: "/", id: undefined, data: undefined } as Packet;
    let body = frame.slice(1);
    let binary = false;
    want = 0;
    // Events come by thousands: the usual ones go through no pattern.
    if (!frame.startsWith("2[")) {
      const [head, first, count, space = "/", number] =
        /^([0-6])(?:(0|[1-9]\d?)-)?(?:(\/[^,?]*)(?:\?[^,]*)?(?:,|$))?(0|[1-9]\d{0,15})?/.exec(frame) ?? bad();
      body = frame.slice(head!.length);
      binary = +first! > 4;
      want = +(count ?? 0);
      p.type = +first! - (binary ? 3 : 0);
      p.ns = space;
      if (number) p.id = +number;
      if (
        binary !== !!count ||
        want > attachments ||
        !Number.isSafeInteger(p.id ?? 0) ||
        !/^(0\{?|1|2i?\[|3i\[|4["{])$/.test(p.type + (number ? "i" : "") + body.slice(0, 1))
      )
        bad();
    }
    try {
      if (body) p.data = JSON.parse(body);
    } catch {
      bad();
    }
    if (p.type === 2) {
      const [name] = p.data;
      if (typeof name === "number") p.data[0] = `${name}`; // JavaScript can emit one
      else if (typeof name !== "string") bad();
    }
    slots = [];
    have = want;
    const holds = (c: string) => {
      let n = 0;
      for (let i = 0; (i = body.indexOf(c, i) + 1); ) n++;
      return n;
    };
    // Too few brackets can't be too deep.
    if (binary || holds("[") + holds("{") > depth) walk(p, "data", 1, binary);
    if (have) bad();
    if (want) waiting = p;
    else return p;
    return;
  };
}
