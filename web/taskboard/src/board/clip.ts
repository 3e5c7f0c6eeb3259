// What the server takes: sizes are bytes of UTF-8.
export const titleBytes = 200;
export const textBytes = 4000;

/** As much of a text as fits. Inputs count characters otherwise than the server. */
export function clip(text: string, bytes: number): string {
  const room = new Uint8Array(bytes);
  return text.slice(0, new TextEncoder().encodeInto(text, room).read);
}
