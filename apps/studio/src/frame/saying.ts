import { create } from "zustand";

/** What is said to those who do not see the page; the last sentence stands. */
export const useSaying = create<{ text: string }>(() => ({ text: "" }));

export function say(text: string): void {
  useSaying.setState({ text: text.trim() });
}
