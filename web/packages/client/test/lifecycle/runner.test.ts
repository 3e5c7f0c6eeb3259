import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { useFakeClock } from "./clock.js";
import { parse } from "./scenario.js";
import { Stage } from "./stage.js";
import "../../src/testing/loaded.js";

beforeEach(useFakeClock);
afterEach(() => void vi.useRealTimers());

async function play(steps: string, config = '{"queue":1}'): Promise<string> {
  const text = `{"name":"x","applies":["browser"],"config":${config},"steps":[${steps}]}`;
  const stage = new Stage(parse(text).get("")!);
  const faults = await stage.play();
  await stage.end();
  return faults.join("\n");
}

const signIn = '{"do":"signIn","user":"ann"},';
const connected = '{"do":"connect"},{"expect":{"state":"connected"},"within":1000},';
const me = '{"do":"request","path":"/app/me","as":"r"},';
const none = '{"do":"request","path":"/no","as":"r"},';

// Each kind of expectation fails where it should, and what can't be done is a fault.
test.each([
  ['{"expect":{"signedIn":false}}', "signedIn is true, want false"],
  ['{"expect":{"user":"bob"}}', 'user is "ann", want "bob"'],
  ['{"expect":{"token":2}}', "token is 1, want 2"],
  ['{"expect":{"refreshes":[1,3]}}', "refreshes is 0, want [1,3]"],
  ['{"expect":{"signOuts":1}}', "signOuts is 0, want 1"],
  ['{"expect":{"connections":1}}', "connections is 0, want 1"],
  ['{"expect":{"unauthorized":1}}', "unauthorized is 0, want 1"],
  ['{"expect":{"queued":1}}', "queued is 0, want 1"],
  ['{"expect":{"dead":1}}', "dead is 0, want 1"],
  ['{"expect":{"events":[]}}', 'events is ["sign-in"], want []'],
  ['{"expect":{"state":"connected"},"within":100}', 'state is "disconnected", want "connected"'],
  ['{"expect":{"requests":{"/x":1}}}', "requests of /x is 0, want 1"],
  ['{"expect":{"added":[1]}}', "added is [], want [1]"],
  ['{"expect":{"results":{"r":{}}}}', "nothing was done as r"],
  ['{"expect":{},"by":"b"}', "there is no client b"],
  ['{"do":"dance"}', "unknown: do dance"],
  ['{"server":"dance"}', "unknown: server dance"],
  ['{"server":"vanish"}', "there is no connection"],
  ['{"server":"vanish","how":"x"}', "unknown: vanish x"],
  ['{"server":"close","status":1001}', "there is no connection"],
  ['{"server":"end","code":"INTERNAL"}', "there is no connection"],
  ['{"server":"revoke","user":"bob"}', "no such session"],
  ['{"do":"leave","room":"x"}', "the room is not held"],
  ['{"do":"request","method":"BREW","path":"/app/me"}', "unknown: method BREW"],
  ['{"do":"request","path":"/nothing"}', "NOT_FOUND"],
  ['{"server":"slow","path":"any","for":20000},{"do":"refresh"}', "has not ended"],
  [connected + '{"expect":{"changes":["connected"]}}', 'changes is ["connecting","connected"], want ["connected"]'],
  [connected + '{"do":"join","room":"r"},{"server":"publish","room":"r","event":"e","data":1},{"expect":{"received":[]}}', 'received is [["r","e",1]], want []'],
  [me + '{"expect":{"results":{"r":{"pending":true}}}}', "r: that it has ended is true, want false"],
  [me + '{"expect":{"results":{"r":{"data":"bob"}}},"within":100}', 'r: the data is "ann", want "bob"'],
  [me + '{"expect":{"results":{"r":{"error":"TIMEOUT"}}},"within":100}', 'is "", want "TIMEOUT"'],
  [me + '{"expect":{"results":{"r":{"took":[5,9]}}},"within":100}', "r: how long it took is 0, want [5,9]"],
  [none + '{"expect":{"results":{"r":{}}},"within":9}', 'is "NOT_FOUND", want ""'],
  [none + '{"expect":{"results":{"r":{"error":"NOT_FOUND","status":400}}},"within":9}', "r: status is 404, want 400"],
  [none + '{"expect":{"results":{"r":{"error":"NOT_FOUND","final":false}}},"within":9}', "r: final is true, want false"],
  [none + '{"expect":{"results":{"r":{"error":"NOT_FOUND","retryAfter":9}}},"within":9}', "r: retryAfter is 0, want 9"],
])("%s is a fault", async (steps, want) => {
  expect(await play(signIn + steps)).toContain(want);
});

const steps = (s: string) => `{"name":"x","applies":["browser"],"steps":[${s}]}`;
const cases = (each: string) => `{"name":"x","applies":["browser"],"steps":[{"advance":"$n"}],"each":${each}}`;

test.each([
  ["{", "JSON"],
  ["{}", "required"],
  ['{"name":"x","applies":["browser"],"step":1}', "unknown key step"],
  [steps('{"do":"refresh","sevrer":"stop"}'), "unknown key sevrer"],
  [steps('{"do":"refresh","server":"stop"}'), "exactly one of"],
  [steps('{"why":"nothing"}'), "exactly one of"],
  [steps('{"expect":{"tokens":1}}'), "unknown key tokens"],
  [steps('{"expect":{"results":{"r":{"ok":true}}}}'), "unknown key ok"],
  [steps('{"expect":{"token":[2,1]}}'), "token is no range"],
  [steps('{"expect":{"token":"1"}}'), "token is no range"],
  ['{"name":"x","applies":["browser"],"config":{"life":1},"steps":[{"advance":1}]}', "unknown key life"],
  [cases('[{"n":1}]'), "a name of its own"],
  [cases('[{"case":"a","n":1},{"case":"a","n":1}]'), "a name of its own"],
  [cases('[{"case":"a"}]'), "no value for $n"],
  [cases('[{"case":"a","n":"x"}]'), "advance is no number"],
  [cases('[{"case":"a","n":1},{"case":"b","n":-1}]'), "exactly one of"],
])("%s is no scenario", (text, want) => {
  expect(() => parse(text)).toThrow(want);
});

test("a case's values stand where their names do", () => {
  const file = '{"name":"x","applies":["browser"],"config":{"lifetime":"$n"},"each":[{"case":"a","n":1,"s":{"advance":5}},{"case":"b","n":2,"s":{"do":"touch"}}],"steps":["$s"]}';
  const all = [...parse(file)].map(([name, s]) => [name, s.config, s.steps]);
  expect(all).toEqual([["a", { lifetime: 1 }, [{ advance: 5 }]], ["b", { lifetime: 2 }, [{ do: "touch" }]]]);
});
