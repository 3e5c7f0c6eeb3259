import { HoldfastError, type ErrorCode } from "@holdfast/client";

/** What went wrong, in words for people. */
export interface Trouble {
  /** The error's code; PASSKEY for what the browser says of one. */
  code: ErrorCode | "PASSKEY" | "UNKNOWN";
  text: string;
  /** When another try makes sense, in epoch milliseconds. */
  until?: number;
}

const lost = "The server can’t be reached. Look at your connection, and try again.";

const words: { [code in ErrorCode]?: string } = {
  NETWORK: lost,
  TIMEOUT: lost,
  NOT_CONNECTED: lost,
  CONNECTION_LOST: lost,
  GOING_AWAY: "The server is just being restarted. Try again in a moment.",
  INTERNAL: "Something is wrong at the server. Try again in a moment.",
  RATE_LIMITED: "Too many tries.",
  FORBIDDEN: "You may not do this.",
};

/** Puts an error into words. `own` are those of the place where it happened; otherwise the server's do. Undefined: it was the user’s wish. */
export function troubleOf(error: unknown, own: typeof words = {}, now = Date.now()): Trouble | undefined {
  if (error instanceof HoldfastError) {
    const { code, message, retryAfter } = error;
    if (code === "CANCELED") return undefined;
    const text = own[code] ?? words[code] ?? sentence(message);
    return { code, text, ...(code === "RATE_LIMITED" && { until: now + (retryAfter ?? 1) * 1000 }) };
  }
  if (error instanceof DOMException) return passkeyTrouble(error);
  return { code: "UNKNOWN", text: "Something went wrong. Load the page again, and try once more." };
}

/** Whether an error says that something is not there. */
export const isNotFound = (error: unknown): boolean => error instanceof HoldfastError && error.code === "NOT_FOUND";

/** The server's messages are sentences without their end. */
const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);

function passkeyTrouble({ name }: DOMException): Trouble | undefined {
  switch (name) {
    case "AbortError":
      return undefined;
    case "NotAllowedError": // cancelled, timed out, or no passkey: browsers don't tell which
      return { code: "PASSKEY", text: "No passkey was used. Try again, or go another way." };
    case "InvalidStateError":
      return { code: "PASSKEY", text: "This device has a passkey for your account already." };
    case "SecurityError":
      return { code: "PASSKEY", text: "Passkeys don’t work at this address. Open the board by its name, such as localhost." };
    default:
      return { code: "PASSKEY", text: "The passkey could not be used here. Go another way." };
  }
}
