import "./boards.css";
import "./board.css";
import "./card.css";
import "./dialog.css";
import "./over.css";

export { BoardPage } from "./board-page.js";
export { Boards } from "./boards.js";
