import type { QueueItem, RealtimeSocket } from "@holdfast/client";
import type { Network } from "./network.js";
import type { Told } from "./story.js";
import { count, reason } from "./words.js";

interface Waiting {
  /** The id of the user who made it. */
  user: string;
  /** It was told that it waits. */
  told: boolean;
  /** Events of the room that it led to. */
  events: number;
}

/**
 * Tells of the queue: of edits that wait, are sent, or are refused. Those that
 * go out at once are no news, and neither are those of another user of this
 * browser. `who` is the id of the one who is signed in.
 */
export function watchQueue(socket: RealtimeSocket<any>, net: Network, who: () => string | undefined, say: (told: Told) => void) {
  const waiting = new Map<string, Waiting>();
  let queue: readonly QueueItem[] = [];

  const mine = () => [...waiting.values()].filter(({ user }) => user === who());

  const waits = () => {
    const all = mine().length;
    const news = mine().filter((edit) => !edit.told);
    if (!news.length || (socket.state.connected && net.get())) return;
    for (const edit of news) edit.told = true;
    say({
      kind: "queued", tone: "warn", title: `${count(all, "edit")} ${all === 1 ? "waits" : "wait"} for the network`,
      why: "Kept in this browser's database, in order. Even if you close the page, it is sent when you are back.",
    });
  };

  const changed = () => {
    const { queued, dead } = socket;
    if (queued === queue) return;
    queue = queued;
    const there = new Set(queued.map((item) => item.id));
    for (const { id, user } of queued) if (!waiting.has(id)) waiting.set(id, { user, told: false, events: 0 });
    const gone = [...waiting].filter(([id]) => !there.has(id));
    for (const [id] of gone) waiting.delete(id);
    const refused = new Set(dead.map(({ item }) => item.id));
    const sent = gone.filter(([id, edit]) => edit.told && edit.user === who() && !refused.has(id)).map(([, edit]) => edit);
    if (sent.length) sentOnes(sent);
    waits();
  };

  let late: Waiting[] = [];
  const sentOnes = (sent: Waiting[]) => {
    late.push(...sent);
    if (mine().some((edit) => edit.told)) return; // the rest of them are just going out
    const all = late;
    late = [];
    const once = all.every((edit) => edit.events === 1);
    say({
      kind: "sent", tone: "good", alone: true, said: true,
      title: `${count(all.length, "edit")} sent${once ? `, ${all.length === 1 ? "" : "each "}applied once` : ""}`,
      why: "Each edit carries an id of its own. However often it must be sent, the server gives it its effect once.",
    });
  };

  return {
    /** An event of a room has the id of a write. */
    seen(id: string) {
      const edit = waiting.get(id);
      if (edit) edit.events++;
    },
    /** The connection or the network is gone: what was just being sent waits. */
    stuck: waits,
    start() {
      const offs = [
        socket.subscribeQueue(changed),
        socket.onDead(({ error }) =>
          say({
            kind: "dead", alone: true, said: true, tone: "bad", title: "The server refused an edit",
            why: `${reason(error)} The board shows what is so at the server.`,
          }),
        ),
      ];
      changed();
      return () => offs.forEach((off) => off());
    },
  };
}
