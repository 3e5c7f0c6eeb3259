// Which refused writes the user was told of, and has settled. They stay with
// the client until a hundred others have come; a reload shall not tell again.

const key = "taskboard:told";

const read = (): string[] => {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "[]");
  } catch {
    return [];
  }
};

export const has = (id: string): boolean => read().includes(id);

export const add = (id: string): void => {
  try {
    localStorage.setItem(key, JSON.stringify([...read().filter((other) => other !== id), id].slice(-200)));
  } catch {
    // It is told again after a reload.
  }
};
