import { Refusal } from "./refusal.js";

/** A message of a WebSocket, or one of a polling payload. */
export type Frame = string | Uint8Array;

/** Packets of the Socket.IO protocol, v5; binary ones have the type without it. */
export const CONNECT = 0;
export const DISCONNECT = 1;
export const EVENT = 2;
export const ACK = 3;
export const CONNECT_ERROR = 4;

export interface Packet {
  type: number;
  namespace: string;
  id?: number | undefined;
  /** Its payload; binary parts are Uint8Arrays within. */
  data?: any;
}

function broken(why: string): Refusal {
  return new Refusal("PROTOCOL_ERROR", why);
}

/** Takes the binary parts out of a value, and puts placeholders in their places. */
function take(value: any, parts: Uint8Array[]): any {
  if (value instanceof Uint8Array) return { _placeholder: true, num: parts.push(value) - 1 };
  if (value instanceof ArrayBuffer) return take(new Uint8Array(value), parts);
  if (Array.isArray(value)) return value.map((v) => take(v, parts));
  if (value && typeof value === "object" && typeof value.toJSON !== "function")
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, take(v, parts)]));
  return value;
}

/** The frames of a packet, each with its Engine.IO type where it is a text. */
export function encode(p: Packet): Frame[] {
  const parts: Uint8Array[] = [];
  const data = p.data === undefined ? "" : JSON.stringify(take(p.data, parts));
  const type = parts.length > 0 ? `${p.type + 3}${parts.length}-` : p.type;
  const namespace = p.namespace === "/" ? "" : p.namespace + ",";
  return [`4${type}${namespace}${p.id ?? ""}${data}`, ...parts];
}

/** Puts binary parts in their places; `part` says which. */
function put(value: any, part: (num: unknown) => Uint8Array): any {
  if (Array.isArray(value)) return value.map((v) => put(v, part));
  if (!value || typeof value !== "object") return value;
  if (value._placeholder === true) {
    if (Object.keys(value).length !== 2) throw broken("a wrong placeholder");
    return part(value.num);
  }
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, put(v, part)]));
}

/** Throws unless each of so many attachments has one placeholder. */
function checkPlaceholders(value: unknown, count: number): void {
  const used = new Set<unknown>();
  const none = new Uint8Array();
  put(value, (num) => {
    const right = typeof num === "number" && Number.isInteger(num) && num >= 0 && num < count && !used.has(num);
    if (!right) throw broken("a wrong placeholder");
    used.add(num);
    return none;
  });
  if (used.size !== count) throw broken("an attachment that is not used");
}

/** Makes packets of frames. What breaks the protocol is thrown as a Refusal. */
export class Decoder {
  #waiting: { packet: Packet; want: number; parts: Uint8Array[] } | undefined;

  /** The packet that is complete with this frame (a text without the Engine.IO type). */
  frame(f: Frame): Packet | undefined {
    if (typeof f === "string") {
      if (this.#waiting) throw broken("a text while attachments are awaited");
      return this.#text(f);
    }
    const w = this.#waiting;
    if (!w) throw broken("binary that no packet announced");
    w.parts.push(f);
    if (w.parts.length < w.want) return undefined;
    this.#waiting = undefined;
    w.packet.data = put(w.packet.data, (num) => w.parts[num as number]!);
    return w.packet;
  }

  #text(text: string): Packet | undefined {
    const found = /^([0-6])(?:(0|[1-9]\d*)-)?(?:(\/[^,]*)(?:,|$))?(0|[1-9]\d*)?([[{"][^]*)?$/.exec(text);
    if (!found) throw broken("no packet");
    const [, kind, count, namespace, id, json] = found;
    const binary = Number(kind) > 4;
    if (binary !== (count !== undefined) || Number(count ?? 0) > 16) throw broken("a wrong count of attachments");
    const packet: Packet = {
      type: Number(kind) - (binary ? 3 : 0), namespace: namespace?.split("?")[0] ?? "/", id: id === undefined ? id : Number(id),
    };
    if (json !== undefined) {
      try {
        packet.data = JSON.parse(json);
      } catch {
        throw broken("the payload is no JSON");
      }
    }
    if (binary) checkPlaceholders(packet.data, Number(count));
    this.#checked(packet);
    if (!binary || Number(count) === 0) return packet;
    this.#waiting = { packet, want: Number(count), parts: [] };
    return undefined;
  }

  #checked(p: Packet): void {
    const named = Array.isArray(p.data) && (typeof p.data[0] === "string" || typeof p.data[0] === "number");
    const right =
      p.type === CONNECT ? p.data === undefined || (typeof p.data === "object" && !Array.isArray(p.data))
      : p.type === DISCONNECT ? p.data === undefined
      : p.type === EVENT ? named
      : p.type === ACK ? Array.isArray(p.data) && p.id !== undefined
      : false;
    if (!right) throw broken("a wrong payload");
  }
}
