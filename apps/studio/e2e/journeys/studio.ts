import { expect, test as plain, type Download, type Locator, type Page } from "@playwright/test";
import { startServer, type Served } from "./server";

export { expect } from "@playwright/test";
export type { Page } from "@playwright/test";

/** Samples above this are heard, below the other one is silence. */
export const HEARD = 0.01;
export const SILENT = 0.0005;

declare global {
  interface Window {
    /** The largest sample of the last twentieth of a second, of all that goes to the loudspeakers. */
    loudness: () => number;
  }
}

/** Ears of the tests' own: before the page's first line, a tap at whatever is connected to the loudspeakers. */
function grownEars(): void {
  const taps: AnalyserNode[] = [];
  const plain = AudioNode.prototype.connect as (this: AudioNode, ...given: unknown[]) => AudioNode;
  AudioNode.prototype.connect = function (this: AudioNode, ...given: unknown[]) {
    if (given[0] instanceof AudioDestinationNode && this.context instanceof AudioContext) {
      const tap = this.context.createAnalyser();
      taps.push(tap);
      plain.call(this, tap);
    }
    return plain.call(this, ...given);
  } as typeof AudioNode.prototype.connect;
  const samples = new Float32Array(2048);
  window.loudness = () =>
    taps.reduce((most, tap) => {
      tap.getFloatTimeDomainData(samples);
      return samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), most);
    }, 0);
}

/** How long a piece may take on a busy machine. */
export const COMPOSING_MS = 90_000;

/** The page as a musician has it before them. */
export class Studio {
  /** What the browser complained of, and what it asked of other hosts: nothing, in every journey. */
  readonly complaints: string[] = [];
  readonly asked: string[] = [];
  readonly #url: string;
  readonly page: Page;

  constructor(page: Page, url: string) {
    this.page = page;
    this.#url = url;
    page.on("request", (request) => this.asked.push(request.url()));
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") this.complaints.push(message.text());
    });
  }

  async open(hash = ""): Promise<void> {
    await this.page.addInitScript(grownEars);
    await this.page.goto(this.#url + hash);
    await expect(this.page.getByText(/^\s*Ready/)).toBeVisible();
  }

  /** Takes away complaints that a journey means to cause; how many there were. */
  forgive(expected: RegExp): number {
    const others = this.complaints.filter((complaint) => !expected.test(complaint));
    return this.complaints.splice(0, this.complaints.length, ...others).length - others.length;
  }

  foreign(): string[] {
    return this.asked.filter((url) => !url.startsWith(this.#url) && !/^(data|blob):/.test(url));
  }

  get title(): Locator {
    return this.page.getByRole("region", { name: "The music" }).getByRole("heading");
  }

  get takes(): Locator {
    return this.page.getByRole("region", { name: "Takes" }).getByRole("listitem");
  }

  get roll(): Locator {
    return this.page.getByRole("application", { name: /^(Notes of|The piece)/ });
  }

  async tab(name: "Make" | "Change" | "Keep" | "Understand" | "Compare"): Promise<void> {
    await this.page.getByRole("tab", { name }).click();
  }

  async fill(label: string, value: string | number): Promise<void> {
    const field = this.page.getByRole("textbox", { name: label, exact: true });
    await field.fill(String(value));
    await field.blur();
  }

  /** Opens what is folded away, if it is. */
  async unfold(title: string): Promise<void> {
    const fold = this.page.getByRole("button", { name: title });
    if ((await fold.getAttribute("aria-expanded")) === "false") await fold.click();
    await expect(fold).toHaveAttribute("aria-expanded", "true");
  }

  async ask(bars: number, seed: number): Promise<void> {
    await this.tab("Make");
    await this.fill("Length in bars", bars);
    await this.fill("Seed", seed);
  }

  /** A take of so many bars, whole. */
  async make(bars: number, seed: number): Promise<void> {
    const before = await this.takes.count();
    await this.ask(bars, seed);
    await this.page.getByRole("button", { name: "Generate" }).click();
    await expect(this.takes).toHaveCount(before + 1, { timeout: COMPOSING_MS });
  }

  /** The loudest of many looks: a single one may fall between two notes. */
  async loudness(): Promise<number> {
    return this.page.evaluate(async () => {
      let most = 0;
      for (const end = performance.now() + 300; performance.now() < end; await new Promise((done) => setTimeout(done, 20))) most = Math.max(most, window.loudness());
      return most;
    });
  }

  /** Silent and at the begin, whether it still plays or not. */
  async rest(): Promise<void> {
    await this.page.getByRole("button", { name: "Stop and go to the begin" }).click();
  }

  async download(form: "MIDI" | "WAV" | "PNG"): Promise<Download> {
    await this.tab("Keep");
    const coming = this.page.waitForEvent("download", { timeout: COMPOSING_MS });
    await this.page.getByRole("button", { name: `Download ${form}` }).click();
    return coming;
  }

  /** Each note of the roll as it is said to those who cannot see it, in the order of the arrow keys. */
  async spoken(): Promise<string[]> {
    const said = this.roll.locator("xpath=..").locator("[aria-live]");
    await this.roll.focus();
    await this.page.keyboard.press("Home");
    const notes: string[] = [];
    for (;;) {
      await expect(said).not.toHaveText(notes.at(-1) ?? "");
      const text = (await said.textContent()) ?? "";
      if (text === "No further note") return notes;
      notes.push(text);
      await this.page.keyboard.press("ArrowRight");
    }
  }
}

export const test = plain.extend<{ studio: Studio }, { server: Served }>({
  server: [
    async ({}, provide) => {
      const server = await startServer();
      await provide(server);
      await server.stop();
    },
    { scope: "worker", timeout: 300_000 },
  ],
  studio: async ({ page, server }, provide) => {
    const studio = new Studio(page, server.url);
    await studio.open();
    await provide(studio);
    expect(studio.complaints).toEqual([]);
    expect(studio.foreign()).toEqual([]);
  },
});
