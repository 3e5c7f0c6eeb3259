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
      if (raw instanceof ArrayBuffer || ArrayBuffer.isView(raw) || raw instanceof Blob)
        return { _placeholder: true, num: found.push(raw) - 1 };
      if (value && typeof value === "object") {
        const level = (levels.get(this) ?? 0) + 1;
        if (level > 32) throw level;
        levels.set(value, level);
        forged ||= value._placeholder === true;
      }
      return value;
    });
    if (found[16] || (found[0] && forged)) throw found;
  } catch (e) {
    throw local("INVALID_ARGUMENT", "No JSON, too deep, or too many attachments", undefined, e);
  }
  const n = found.length;
  return [`4${n ? `${type + 3}${n}-` : type}${ns === "/" ? "" : ns + ","}${id ?? ""}${text ?? ""}`, ...found];
}

/** Throws what a packet is answered with that makes no sense. */
export const bad = (): never => {
  throw local("PROTOCOL_ERROR", undefined, false);
};

/**
 * Makes the decoder of one connection, which is at its end where it throws. It
 * takes text without the Engine.IO type, and attachments; undefined: more is to
 * come. Throws PROTOCOL_ERROR, or MESSAGE_TOO_LARGE over `most` bytes of text and attachments.
 */
export function decoder(
  most = 2 << 20,
  attachments = 16,
  depth = 32,
): (frame: string | ArrayBuffer) => Packet | undefined {
  let waiting: Packet | undefined; // for attachments
  let slots: (0 | [holder: any, key: string])[] = [];
  let binary: boolean; // without a count nothing is a placeholder
  let size: number;

  const grow = (n: number) => {
    size += n;
    if (size > most) throw local("MESSAGE_TOO_LARGE", `Over ${most} bytes`, false);
  };
  // Notes where attachments go.
  const walk = (holder: any, key: string, level: number) => {
    const value = holder[key];
    if (!value || typeof value !== "object") return;
    if (level > depth) bad();
    const keys = Object.keys(value);
    const { num } = value;
    if (!binary || value._placeholder !== true) for (const k of keys) walk(value, k, level + 1);
    else if (keys[2] || typeof num !== "number" || slots[num] !== 0) bad();
    else slots[num] = [holder, key];
  };

  return (frame) => {
    let p = waiting;
    if (typeof frame !== "string") {
      grow(frame.byteLength);
      const [holder, key] = (slots.shift() || bad()) as [any, string];
      holder[key] = frame;
      if (slots[0]) return;
      waiting = undefined;
      return p;
    }
    if (p) bad();
    size = 0;
    grow(frame.length);
    p = { type: 2, ns: "/", id: undefined, data: undefined };
    let body = frame.slice(1);
    slots = [];
    binary = false;
    // Events come by thousands: the usual ones go through no pattern.
    if (!frame.startsWith("2[")) {
      const [head, first, count, space = "/", number] =
        /^([0-6])(?:(0|[1-9]\d?)-)?(?:(\/[^,?]*)(?:\?[^,]*)?(?:,|$))?(0|[1-9]\d{0,15})?/.exec(frame) ?? bad();
      body = frame.slice(head!.length);
      p.type = +first!;
      p.ns = space;
      if (number) p.id = +number;
      binary = p.type > 4;
      if (binary !== !!count || +count! > attachments) bad();
      if (binary) {
        p.type -= 3;
        slots = Array(+count!).fill(0);
      }
      if (
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
    // Too few brackets can't be too deep. `indexOf` is much faster than a look at each character.
    let brackets = 0;
    for (const c of "[{") for (let i = 0; (i = body.indexOf(c, i) + 1); ) brackets++;
    if (binary || brackets > depth) walk(p, "data", 1);
    if (slots.includes(0)) bad();
    if (!slots[0]) return p;
    waiting = p;
    return;
  };
}
