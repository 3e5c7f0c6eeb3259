import { createServer, connect, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** A way to a server that can be cut, so that all connections break and no new one comes through. */
export interface Line {
  /** The server's address by this line. */
  readonly url: string;
  cut: () => void;
  mend: () => void;
  close: () => Promise<void>;
}

/** Opens a line to the server at `url`. */
export async function line(url: string): Promise<Line> {
  const { hostname, port } = new URL(url);
  const open = new Set<Socket>();
  let whole = true;
  const server = createServer((near) => {
    if (!whole) return near.destroy();
    const far = connect(Number(port), hostname);
    for (const [one, other] of [[near, far], [far, near]] as const) {
      open.add(one);
      one.pipe(other);
      one.on("error", () => one.destroy());
      one.on("close", () => (open.delete(one), other.destroy()));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, hostname, resolve));
  const cut = () => {
    whole = false;
    for (const socket of open) socket.destroy();
  };
  return {
    url: `http://${hostname}:${(server.address() as AddressInfo).port}`,
    cut,
    mend: () => void (whole = true),
    close: () => (cut(), new Promise<void>((resolve) => server.close(() => resolve()))),
  };
}
