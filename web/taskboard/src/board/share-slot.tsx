export { Share } from "../account/share.js";
