/** What the tabs of a profile share of a storage. */
export class Shelf {
  readonly items = new Map<string, string>();
  /** Characters, keys included. */
  quota = 5_000_000;
  /** As where the user blocks storage: reading `localStorage` throws. */
  blocked = false;

  get size(): number {
    let n = 0;
    for (const [k, v] of this.items) n += k.length + v.length;
    return n;
  }
}

/** One tab's view of a Shelf. `changed` is told of what it changes; `alive` is false when the tab is killed. */
export class TestStorage implements Storage {
  [name: string]: any;
  readonly #shelf: Shelf;
  readonly #changed: (key: string | null, oldValue: string | null, newValue: string | null) => void;
  readonly #alive: () => boolean;

  constructor(
    shelf: Shelf,
    changed: (key: string | null, oldValue: string | null, newValue: string | null) => void,
    alive: () => boolean,
  ) {
    this.#shelf = shelf;
    this.#changed = changed;
    this.#alive = alive;
  }

  get length(): number {
    return this.#shelf.items.size;
  }

  key(i: number): string | null {
    return [...this.#shelf.items.keys()][i] ?? null;
  }

  getItem(key: string): string | null {
    return this.#shelf.items.get(String(key)) ?? null;
  }

  setItem(key: string, value: string): void {
    const shelf = this.#shelf;
    const before = this.getItem(key);
    const grows = String(value).length - (before?.length ?? -String(key).length);
    if (shelf.size + grows > shelf.quota) throw new DOMException("the storage is full", "QuotaExceededError");
    this.#change(String(key), before, String(value));
  }

  removeItem(key: string): void {
    const before = this.getItem(key);
    if (before !== null) this.#change(String(key), before, null);
  }

  clear(): void {
    if (!this.#alive() || this.#shelf.items.size === 0) return;
    this.#shelf.items.clear();
    this.#changed(null, null, null);
  }

  #change(key: string, before: string | null, value: string | null): void {
    if (!this.#alive() || before === value) return;
    if (value === null) this.#shelf.items.delete(key);
    else this.#shelf.items.set(key, value);
    this.#changed(key, before, value);
  }
}
