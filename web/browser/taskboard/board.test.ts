import { expect, test } from "vitest";
import { stage } from "./stage.js";

const board = stage();

test("the page is there, and knows who is signed in", async () => {
  const ada = await board.person("Ada");
  const page = await ada.open();
  await page.waitForSelector(".brand");
  expect(await page.title()).toBe("Task board");
});
