import "./live.css";

export { LiveProvider } from "./context.js";
export { Happenings } from "./happenings.js";
export { ConnectionLight } from "./light.js";
export { People } from "./people.js";
export { Pointers } from "./pointers.js";
export { Terminal } from "./terminal.js";
export { TypingLine } from "./typing.js";
