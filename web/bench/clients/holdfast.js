import { createRealtimeClient } from "@holdfast/client";

/** Opens @holdfast/client, and joins the room. */
export function open({ url, token, room, event }, { connected, joined, received, failed }) {
  const client = createRealtimeClient({ url, authToken: token, socket: { transports: ["websocket"] } });
  const held = client.socket.join(room);
  held.on(event, received);
  client.socket.connect().then(connected, failed);
  held.joined.then(joined, failed);
  return () => client.close();
}
