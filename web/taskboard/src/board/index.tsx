import "./board.css";

export { BoardPage } from "./board-page.js";
export { Boards } from "./boards.js";
