import { reason, sleep, until } from "../abort.js";
import { Emitter, report } from "../emitter.js";
import { actionOf, HoldfastError, local } from "../errors.js";
import { clock, part } from "../surroundings.js";
import { decoder } from "./parser.js";
import { answered, known, refusalOf, unwrap } from "../refusal.js";

/**
 * What the parts that are loaded later are given, as they import nothing of
 * the core: else a bundler would cut what they share with it into small files,
 * which a page loads at first, and which compress worse than one.
 */
export const kit = {
  HoldfastError,
  Emitter,
  actionOf,
  answered,
  clock,
  decoder,
  known,
  local,
  part,
  reason,
  refusalOf,
  report,
  sleep,
  unwrap,
  until,
};

export type Kit = typeof kit;
