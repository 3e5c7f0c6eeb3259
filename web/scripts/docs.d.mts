export interface Block {
  language: string;
  text: string;
  section: string;
  file: string;
}
export const pages: { browser: string; readme: string };
export function blocks(page: string): Block[];
export function write(place: string): number;
