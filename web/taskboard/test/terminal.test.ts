/// <reference types="node" />
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { commands } from "../src/live/commands.js";

const readme = readFileSync(new URL("../../../examples/taskboard/README.md", import.meta.url), "utf8");
const blocks = [...readme.matchAll(/```sh\n(.*?)\n```/gs)].map((match) => match[1]!);

test("the page's commands are those of the README, which its test runs", () => {
  const shown = commands({ url: "http://localhost:8080", email: "ada@example.com", password: "correct horse battery" });
  expect(blocks).toEqual(expect.arrayContaining(shown.map((command) => command.text)));
  // What the page doesn't show makes an account and a board, for which it has forms.
  const others = blocks.filter((block) => !shown.some((command) => command.text === block));
  expect(others.map((block) => /^\w+=\$\(curl -s \S+/.exec(block)?.[0])).toEqual([
    "TOKEN=$(curl -s http://localhost:8080/api/auth/sign-up",
    "BOARD=$(curl -s http://localhost:8080/api/boards",
  ]);
});

test("address, account and password are filled in everywhere", () => {
  for (const { title, text } of commands({ url: "https://board.example.org", email: "u@example.net", password: "p" })) {
    expect(text, title).not.toMatch(/localhost|ada@|correct horse/);
    expect(text, title).toMatch(/(https|wss):\/\/board\.example\.org/);
  }
});
