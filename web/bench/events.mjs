// The events of the benchmark, and how each protocol has them on the wire.

export const room = "board-7";
export const event = "todo:updated";
export const epoch = "k3Jx9a";

/** The data of event `n`: what an application sends, about 200 bytes with all that is around it. */
export const data = (n) => ({
  n,
  id: `todo-${(n * 7919) % 1000}`,
  title: "Water the plants on the balcony",
  done: n % 3 === 0,
  tags: ["home", "garden"],
});

/** Text frames of events 0 to `count` - 1, made before anything is measured. */
export const encoders = {
  // What a Holdfast server sends, and what socket.io-client reads as well.
  socketio: (n) =>
    `42${JSON.stringify([event, data(n), { room, epoch, offset: n + 1, id: `01J9Z3${String(n).padStart(6, "0")}`, from: "u1" }])}`,
  // Of a channel with positions, as our rooms have them.
  centrifuge: (n) =>
    JSON.stringify({ push: { channel: room, pub: { data: data(n), offset: n + 1, tags: { id: `01J9Z3${String(n).padStart(6, "0")}`, from: "u1" } } } }),
};

/** The average length of a frame. */
export const frameSize = (protocol, count = 1000) =>
  Math.round(Array.from({ length: count }, (_, n) => encoders[protocol](n).length).reduce((a, b) => a + b) / count);
