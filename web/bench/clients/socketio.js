import { io } from "socket.io-client";

/** Opens socket.io-client, and joins the room as an application would do by hand. */
export function open({ url, token, room, event }, { connected, joined, received, failed }) {
  const socket = io(url, { transports: ["websocket"], forceNew: true, auth: { token } });
  socket.on(event, received);
  socket.on("connect", () => {
    connected();
    socket.emit("room:join", { room }, (ack) => (ack.ok ? joined() : failed(new Error(JSON.stringify(ack)))));
  });
  socket.on("connect_error", failed);
  return () => socket.close();
}
