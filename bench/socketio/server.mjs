// The npm package socket.io as a server for comparison: rooms, acks, and the
// tokens of "holdfast bench", which are checked as Holdfast checks them. The
// first argument is the file with their secret.
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Server } from "socket.io";

const secret = readFileSync(process.argv[2], "utf8").trim();

/** Returns the claims of an HS256 token; throws if it is not good. */
function verify(token) {
  const [header, payload, signature] = token.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url"));
  const { alg } = JSON.parse(Buffer.from(header, "base64url"));
  const want = createHmac("sha256", secret).update(`${header}.${payload}`).digest();
  const got = Buffer.from(signature, "base64url");
  if (alg !== "HS256" || got.length !== want.length || !timingSafeEqual(got, want)) throw new Error("bad signature");
  if (!(claims.exp > Date.now() / 1000)) throw new Error("expired");
  return claims;
}

const http = createServer();
const io = new Server(http, { maxHttpBufferSize: 2_000_000 });
io.use((socket, next) => {
  try {
    socket.data.user = verify(socket.handshake.auth.token).sub;
    next();
  } catch {
    next(new Error("Unauthorized"));
  }
});
io.on("connection", (socket) => {
  socket.on("room:join", ({ room }, ack) => {
    socket.join(room);
    ack({ ok: true });
  });
  socket.on("room:publish", ({ room, event, data }, ack) => {
    io.to(room).emit(event, data);
    ack({ ok: true });
  });
  socket.on("echo", (data, ack) => ack(data));
});
http.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${http.address().port}`));
