export { Handlers, safely } from "../emitter.js";
