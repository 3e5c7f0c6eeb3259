// What the server's calls and events carry: examples/taskboard/README.md. Times
// are epoch milliseconds.

export type Role = "owner" | "editor" | "viewer";
export type Color = "" | "red" | "orange" | "yellow" | "green" | "blue" | "purple";

/** A board as the user sees it. */
export interface Board {
  id: string;
  title: string;
  role: Role;
  /** The user came by a link. */
  link?: boolean;
  /** Counts the writes to the board. */
  rev: number;
  room: string;
  created: number;
}

/** A column. Lists are ordered by `key`, compared with `<`. */
export interface List {
  id: string;
  title: string;
  key: string;
  version: number;
}

/** A task. Cards of a list are ordered by `key`, compared with `<`. */
export interface Card {
  id: string;
  list: string;
  title: string;
  text: string;
  color: Color;
  done: boolean;
  key: string;
  /** Counts edits; moves don't count. */
  version: number;
  author: string;
  /** Whose edit this version is: a user id. */
  editor: string;
  created: number;
  updated: number;
}

export interface Member {
  id: string;
  name: string;
  /** For the owner's eyes. */
  email?: string;
  role: Role;
  link?: boolean;
}

export interface Link {
  role: Role;
  /** Shown once, when the link is made. */
  token?: string;
  created: number;
}

/** All of a board at one moment. */
export interface BoardState {
  board: Board;
  lists: List[];
  cards: Card[];
  members: Member[];
  links?: Link[];
}

/** What a write did: its answer, and the data of the event that tells the room. */
export interface Change {
  rev: number;
  by: { id: string; name?: string };
  card?: Card;
  list?: List;
  member?: Member;
  title?: string;
  from?: string;
  keys?: Record<string, string>;
}

/** The events of a board's room. */
export interface BoardEvents {
  task_created: Change;
  task_updated: Change;
  task_moved: Change;
  task_deleted: Change;
  list_created: Change;
  list_updated: Change;
  list_moved: Change;
  list_deleted: Change;
  board_updated: Change;
  board_deleted: Change;
  member_added: Change;
  member_updated: Change;
  member_removed: Change;
  [event: string]: any;
}

declare module "@holdfast/client/react" {
  interface Register {
    events: BoardEvents;
  }
}
