import { describe, expect, test } from "vitest";
import { stateOf } from "../src/board/base.js";
import { Model } from "../src/board/model.js";
import { show } from "../src/board/view.js";
import type { Write } from "../src/board/writes.js";
import { ada, card, empty, FakeServer, me, Tab } from "./board-world.js";

/** Numbers from 0 to 1 that are the same for the same seed. */
function chance(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const pick = <T,>(random: () => number, all: readonly T[]): T => all[Math.floor(random() * all.length)]!;

let ids = 0;

/** Some write of somebody who sees these lists and cards. */
function anyWrite(random: () => number, { lists, cards }: { lists: ReadonlyMap<string, unknown>; cards: ReadonlyMap<string, { title: string; text: string }> }): Write {
  const list = pick(random, [...lists.keys()]) ?? "none";
  const all = [...cards.keys()];
  const one = pick(random, all) ?? "none";
  const place = { before: pick(random, [...all, undefined]), after: pick(random, [...all, undefined]) };
  const was = { title: cards.get(one)?.title ?? "", text: cards.get(one)?.text ?? "" };
  const title = `t${Math.floor(random() * 4)}`;
  return pick<Write>(random, [
    { event: "card:create", data: { card: `N${++ids}`, list, title, ...place } },
    { event: "card:create", data: { card: `N${++ids}`, list, title, color: "red" } },
    { event: "card:update", data: { card: one, title, was } },
    { event: "card:update", data: { card: one, text: title, was } },
    { event: "card:update", data: { card: one, done: random() < 0.5 } },
    { event: "card:move", data: { card: one, list, ...place } },
    { event: "card:move", data: { card: one, list, ...place } },
    { event: "card:delete", data: { card: one, was } },
    { event: "list:create", data: { list: `M${++ids}`, title } },
    { event: "list:update", data: { list, title } },
    { event: "list:move", data: { list, before: pick(random, [...lists.keys()]) } },
    ...(random() < 0.2 ? ([{ event: "list:delete", data: { list } }] as Write[]) : []),
  ]);
}

// One step of something.
function step(random: () => number, tab: Tab): void {
  const does: [weight: number, () => void][] = [
    [3, () => tab.write(anyWrite(random, tab.model.draft()))],
    [4, () => tab.keep()],
    [4, () => tab.send()],
    [4, () => tab.ack()],
    [5, () => tab.hear()],
    [2, () => tab.answer()],
    [2, () => tab.fetched()],
    [1, () => tab.cut()],
    [2, () => tab.join(random() < 0.6)],
    [0.3, () => tab.reload()],
    [2, () => {
      try {
        tab.server.write(ada, anyWrite(random, tab.server.base));
      } catch {
        // Others are refused, too.
      }
    }],
  ];
  let at = random() * does.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, go] of does) if ((at -= weight) < 0) return go();
}

test("whatever order writes, acks, events, reconnects, resets and reloads come in, the page ends with what the server has", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = chance(seed);
    const tab = new Tab(new FakeServer());
    let last;
    for (let i = 0; i < 150; i++) {
      step(random, tab);
      const { base, stale } = tab.model;
      // At any time it is exactly what the server had at that revision.
      if (base && !stale && base !== last) expect(stateOf(base), `seed ${seed}, step ${i}`).toEqual(tab.server.states.get(base.board.rev));
      last = base;
      const shown = tab.model.ops.map(({ id }) => id);
      for (const id of tab.ahead()) if (!shown.includes(id)) expect.fail(`seed ${seed}, step ${i}: ${id} has gone before it came`);
    }
    tab.settle();
    const message = `seed ${seed}`;
    expect(tab.model.ops, message).toEqual([]);
    expect(stateOf(tab.model.base!), message).toEqual(stateOf(tab.server.base));
    const draft = tab.model.draft();
    expect(stateOf({ ...tab.model.base!, ...draft }), message).toEqual(stateOf(tab.server.base));
    for (const [id, times] of tab.server.effects) expect(times, `${message}: ${id}`).toBe(1);
  }
}, 60_000);

describe("own writes", () => {
  const opened = () => {
    const model = new Model(me.id);
    model.fetched(empty(), model.fetching());
    return model;
  };
  const rename = (title: string, was = "C1"): Write => ({ event: "card:update", data: { card: "C1", title, was: { title: was, text: "" } } });
  const change = (rev: number, title: string, by = me) => ({ rev, by, card: card("C1", "L1", "G", { title, version: rev }) });
  const title = (model: Model) => model.draft().cards.get("C1")!.title;

  test("are shown at once, as pending, and are settled by their event, in the queue or no more", () => {
    for (const order of ["event", "queue"]) {
      const model = opened();
      const waits = [{ id: "q", event: "card:update", data: { board: "b", mark: "m", ...rename("Uno").data }, at: 0 }];
      model.add(rename("Uno"), "m", 0);
      expect([title(model), [...model.pending()]]).toEqual(["Uno", ["C1"]]);
      model.queue(waits);
      expect(model.ops).toHaveLength(1);
      if (order === "queue") model.queue([]);
      else model.event("task_updated", change(2, "Uno"), "q");
      expect([title(model), model.pending().size]).toEqual(["Uno", 0]);
      // It may still be in the queue when its event has come.
      if (order === "queue") model.event("task_updated", change(2, "Uno"), "q");
      else model.queue(waits);
      expect(model.pending().size).toBe(0);
      model.queue([]);
      expect([model.ops, title(model), model.base!.board.rev]).toEqual([[], "Uno", 2]);
    }
  });

  test("that wait in the queue since before the page was loaded are shown as pending, in their order", () => {
    const model = new Model(me.id);
    model.queue([
      { id: "q1", event: "card:create", data: { board: "b", mark: "m1", card: "N", list: "L1", title: "New" }, at: 5 },
      { id: "q2", event: "card:move", data: { board: "b", mark: "m2", card: "N", before: "C1" }, at: 6 },
    ]);
    model.fetched(empty(), model.fetching());
    const shown = show(model)!;
    expect(shown.columns[0]!.cards.map(({ id }) => id)).toEqual(["N", "C1", "C2"]);
    expect([...shown.pending]).toEqual(["N"]);
  });

  test("that are refused are taken back, and it is told", () => {
    const model = opened();
    model.add({ event: "card:move", data: { card: "C1", list: "L2" } }, "m", 0);
    model.refused("m", { code: "FORBIDDEN", message: "This needs the role editor" });
    expect(model.draft().cards.get("C1")!.list).toBe("L1");
    expect(model.notices).toEqual([{ id: "m", text: expect.stringContaining("only look at this board") }]);
    model.told("m");
    expect(model.notices).toEqual([]);
  });

  test("about something that was refused itself are taken back quietly", () => {
    const model = opened();
    model.add({ event: "card:create", data: { card: "N", list: "L9", title: "New" } }, "m1", 0);
    model.add({ event: "card:update", data: { card: "N", title: "Newer" } }, "m2", 0);
    model.refused("m1", { code: "NOT_FOUND", message: "There is no such list" });
    model.refused("m2", { code: "NOT_FOUND", message: "There is no such card" });
    expect(model.notices).toHaveLength(1);
  });

  test("that meet somebody else's edit are a conflict with both versions, once for a card", () => {
    const model = opened();
    model.add(rename("Uno"), "m1", 0);
    model.add(rename("Eins", "Uno"), "m2", 0);
    model.event("task_updated", change(2, "One", ada), "other");
    expect(title(model)).toBe("Eins");
    model.refused("m1", { code: "CONFLICT", message: "" });
    model.refused("m2", { code: "CONFLICT", message: "" });
    expect(title(model)).toBe("One");
    expect(model.conflicts).toEqual([{ card: "C1", ids: ["m1", "m2"], mine: { title: "Eins" } }]);
    expect(model.editor("C1")).toBe("Ada");
    // Theirs becomes what was mine: there is nothing left to choose.
    model.event("task_updated", change(3, "Eins", ada), "other2");
    expect(model.conflicts).toEqual([]);
  });

  test("a conflict about a card that is deleted is told of, and is none any more", () => {
    const model = opened();
    model.add(rename("Uno"), "m1", 0);
    model.refused("m1", { code: "CONFLICT", message: "" });
    model.event("task_deleted", { rev: 2, by: ada, card: card("C1", "L1", "G") });
    expect([model.conflicts, model.notices.length]).toEqual([[], 1]);
  });
});

test("what has not changed is the same object, so that it is not rendered anew", () => {
  const model = new Model(me.id);
  model.fetched(empty(), model.fetching());
  const one = show(model)!;
  model.add({ event: "card:update", data: { card: "C3", done: true } }, "m", 0);
  const two = show(model, one)!;
  expect(two.columns[0]).toBe(one.columns[0]);
  expect(two.columns[1]).not.toBe(one.columns[1]);
  const three = show(model, two)!;
  expect(three.columns).toBe(two.columns);
  expect(three.pending).toBe(two.pending);
});

test("a gap in the events is not jumped over: the state is to be fetched", () => {
  const model = new Model(me.id);
  model.fetched(empty(), model.fetching());
  const later = (rev: number) => ({ rev, by: ada, card: card("C9", "L1", "Z", { title: `r${rev}` }) });
  model.event("task_updated", later(4));
  expect([model.stale, model.base!.board.rev]).toEqual([true, 1]);
  const state = empty();
  model.fetched({ ...state, board: { ...state.board, rev: 3 } }, model.fetching());
  expect([model.stale, model.base!.board.rev, model.base!.cards.get("C9")!.title]).toEqual([false, 4, "r4"]);
});
