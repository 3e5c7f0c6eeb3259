import { createServer, connect, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** A way to a server that can be cut, so that all connections break and no new one comes through. */
export interface Line {
  /** The server's address by this line. */
  readonly url: string;
  cut: () => void;
  /** Lets new connections wait until it is mended: none fails, and none comes through. */
  hold: () => void;
  mend: () => void;
  close: () => Promise<void>;
}

/** Opens a line to the server at `url`. */
export async function line(url: string): Promise<Line> {
  const { hostname, port } = new URL(url);
  const open = new Set<Socket>();
  const waiting = new Set<Socket>();
  let state: "whole" | "cut" | "held" = "whole";
  const server = createServer((near) => {
    if (state === "cut") return near.destroy();
    if (state === "whole") return join(near);
    waiting.add(near);
    near.on("error", () => near.destroy());
    near.on("close", () => waiting.delete(near));
  });
  const join = (near: Socket) => {
    const far = connect(Number(port), hostname);
    for (const [one, other] of [[near, far], [far, near]] as const) {
      open.add(one);
      one.pipe(other);
      one.on("error", () => one.destroy());
      one.on("close", () => (open.delete(one), other.destroy()));
    }
  };
  await new Promise<void>((resolve) => server.listen(0, hostname, resolve));
  const cut = () => {
    state = "cut";
    for (const socket of [...open, ...waiting]) socket.destroy();
  };
  const mend = () => {
    state = "whole";
    for (const near of waiting) join(near);
    waiting.clear();
  };
  return {
    url: `http://${hostname}:${(server.address() as AddressInfo).port}`,
    cut,
    hold: () => void (state = "held"),
    mend,
    close: () => (cut(), new Promise<void>((resolve) => server.close(() => resolve()))),
  };
}
