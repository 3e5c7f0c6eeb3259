import "./account.css";

export { Devices } from "./devices.js";
export { Join } from "./join.js";
export { Lock } from "./lock.js";
export { Security } from "./security.js";
export { SignIn } from "./sign-in.js";
export { useSignOutReason } from "./sign-out-reason.js";
export { UserMenu } from "./user-menu.js";
