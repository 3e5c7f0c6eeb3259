// A server of the official socket.io package, for the Go client to talk to.
// Called as: node npmserver.mjs PORT (0 for any). It prints JSON lines: first
// {"port"}, then what happens. It ends when its standard input does.
import { createServer } from "node:http";
import { Server } from "socket.io";

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const http = createServer();
const io = new Server(http, { pingInterval: 1000, pingTimeout: 20_000, serveClient: false });

io.use((socket, next) => {
  const { token } = socket.handshake.auth;
  const refuse = (message, data) => next(Object.assign(new Error(message), { data }));
  if (token === "expired") refuse("jwt expired");
  else if (token === "banned") refuse("you are banned", { code: "E_BANNED", until: 7 });
  else next();
});

function serve(socket) {
  say({ connect: socket.handshake.auth, namespace: socket.nsp.name, header: socket.handshake.headers["x-app"] });
  socket.on("disconnect", (reason) => say({ disconnect: reason, namespace: socket.nsp.name }));
  socket.on("where", (_, ack) => ack(socket.nsp.name));
  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("say", (...args) => say({ said: args.map((a) => (Buffer.isBuffer(a) ? a.toString("hex") : a)) }));
  socket.on("emit", (event, ...args) => socket.emit(event, ...args));
  socket.on("ask", async (event, args, ack) => {
    try {
      ack({ answer: await socket.timeout(event === "unknown" ? 500 : 20_000).emitWithAck(event, ...args) });
    } catch (err) {
      ack({ failed: err.message });
    }
  });
  socket.on("reverse", (file, ack) => ack({ name: file.name, size: file.body.length, body: Buffer.from(file.body).reverse() }));
  socket.on("binary", () => socket.emit("bytes", Buffer.from([0, 1, 255]), { list: [Buffer.from("a"), { b: Buffer.alloc(0) }] }));
  socket.on("ticks", (n, ack) => {
    for (let i = 0; i < n; i++) socket.emit("tick", i % 100 === 99 ? { i, pad: Buffer.alloc(100, i) } : { i });
    ack(n);
  });
  socket.on("kick", () => socket.disconnect());
  socket.on("drop", () => socket.conn.close());
}
io.on("connection", serve);
io.of("/admin").on("connection", serve);

http.listen(Number(process.argv[2]), "127.0.0.1", () => say({ port: http.address().port }));
process.stdin.on("end", () => process.exit(0)).resume();
