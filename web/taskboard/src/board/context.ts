import { createContext, useContext } from "react";
import type { Card, List } from "../types.js";
import type { BoardSync } from "./sync.js";

/** A message at the foot of the page, with a way to take back what it tells of. */
export interface ToastText {
  text: string;
  undo?: (() => void) | undefined;
}

/** What the parts of a board can ask of it. The same object for as long as the role is the same. */
export interface BoardUi {
  sync: BoardSync;
  /** Whether the user may change lists and cards. */
  edit: boolean;
  /** Says something to screen readers. */
  announce: (text: string) => void;
  toast: (toast: ToastText) => void;
  cardMenu: (card: Card, anchor: HTMLElement) => void;
  listMenu: (list: List, anchor: HTMLElement) => void;
  /** Opens the line for new cards in a list; undefined: in none. */
  addTo: (list: string | undefined) => void;
  rename: (list: string | undefined) => void;
  remove: (card: Card) => void;
  removeList: (list: List) => void;
}

const Context = createContext<BoardUi | undefined>(undefined);

export const BoardContext = Context.Provider;

export const useBoardUi = (): BoardUi => useContext(Context)!;
