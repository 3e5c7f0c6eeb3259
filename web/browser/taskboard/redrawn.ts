import type { Page } from "playwright-core";

/** Watches a part of a page from now on, but for what is in `but`. What it returns tells what has changed, a line for each change. */
export async function watched(page: Page, part: string, but: string): Promise<() => Promise<string[]>> {
  const seen = await page.evaluateHandle(
    ([part, but]) => {
      const lines: string[] = [];
      const name = (node: Node): string => {
        if (!(node instanceof Element)) return `${node.parentElement ? `${name(node.parentElement)} ` : ""}"${node.textContent}"`;
        const signs = ["id", "class", "role", "aria-label", "data-card", "data-list"];
        return node.localName + signs.map((sign) => (node.hasAttribute(sign) ? `[${sign}=${node.getAttribute(sign)}]` : "")).join("");
      };
      const tell = ({ type, target, attributeName: of, oldValue, addedNodes, removedNodes }: MutationRecord) => {
        if (type === "attributes") return `${name(target)}: ${of} was ${oldValue}, is ${(target as Element).getAttribute(of!)}`;
        if (type === "characterData") return `${name(target)}: was "${oldValue}"`;
        return `${name(target)}: ${[...addedNodes].map((node) => `+ ${name(node)}`)} ${[...removedNodes].map((node) => `- ${name(node)}`)}`;
      };
      const take = (all: MutationRecord[]) => {
        const elsewhere = ({ target }: MutationRecord) => !(target instanceof Element ? target : target.parentElement)?.closest(but);
        lines.push(...all.filter(elsewhere).map(tell));
      };
      const observer = new MutationObserver(take);
      observer.observe(document.querySelector(part)!, {
        subtree: true, childList: true, attributes: true, attributeOldValue: true, characterData: true, characterDataOldValue: true,
      });
      return { all: () => (take(observer.takeRecords()), lines) };
    },
    [part, but] as const,
  );
  return () => seen.evaluate(({ all }) => all());
}
