import { Centrifuge } from "centrifuge";

/** Opens centrifuge-js, and subscribes to the channel. */
export function open({ url, token, room }, { connected, joined, received, failed }) {
  const client = new Centrifuge(`${url.replace(/^http/, "ws")}/connection/websocket`, { token });
  const held = client.newSubscription(room);
  held.on("publication", (publication) => received(publication.data));
  held.on("subscribed", joined);
  held.on("error", (context) => failed(new Error(context.error.message)));
  held.subscribe();
  client.on("connected", connected);
  client.on("error", (context) => failed(new Error(context.error.message)));
  client.connect();
  return () => client.disconnect();
}
