import AxeBuilder from "@axe-core/playwright";
import { expect, type Page, test } from "./harness/test";

/** The page waits until the notes are painted. */
async function open(page: Page, query = ""): Promise<{ x: number; y: number; width: number; height: number }> {
  await page.goto(`roll.html?${query}`);
  await page.waitForFunction(() => window.lab?.frames.some((frame) => frame.notesDrawn > 0));
  const box = await page.locator(".roll").boundingBox();
  if (!box) throw new Error("the roll is not seen");
  return box;
}

async function placeOf(page: Page, id: number) {
  const place = await page.evaluate((note) => window.lab.placeOf(note), id);
  if (!place) throw new Error(`note ${id} is not there`);
  return place;
}

/** The colour that is seen at a place of the page, as a picture of it has it. */
async function pixel(page: Page, x: number, y: number): Promise<number[]> {
  const picture = await page.screenshot({ clip: { x: Math.round(x), y: Math.round(y), width: 1, height: 1 }, scale: "css" });
  return page.evaluate(async (base64) => {
    const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))]));
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context?.drawImage(bitmap, 0, 0);
    return [...(context?.getImageData(0, 0, 1, 1).data ?? [])].slice(0, 3);
  }, picture.toString("base64"));
}

const near = (seen: number[], wanted: number[], within: number) => seen.every((part, at) => Math.abs(part - (wanted[at] ?? 0)) <= within);

test("a note is where it should be, in its track's colour, in both themes", async ({ page }) => {
  for (const [theme, track, paper] of [["light", [0, 114, 178], [255, 255, 255]], ["dark", [62, 159, 222], [20, 24, 29]]] as const) {
    await open(page, `theme=${theme}`);
    const place = await placeOf(page, 4);
    const alpha = 0.5 + (0.5 * 80) / 110;
    const wanted = track.map((part, at) => part * alpha + (paper[at] ?? 0) * (1 - alpha));
    expect(near(await pixel(page, place.x + 20, place.y + place.height / 2), wanted, 14)).toBe(true);
    expect(near(await pixel(page, place.x + 20, place.y - place.height * 0.6), paper as unknown as number[], 14)).toBe(true);
  }
});

test("it follows the theme without a reload", async ({ page }) => {
  const box = await open(page);
  // As the page has it where motion is reduced: every change of a colour is a very short transition.
  await page.addStyleTag({ content: "* { transition-duration: 0.01ms !important; }" });
  const ruler = () => pixel(page, box.x + 20, box.y + 8);
  expect((await ruler())[0]).toBeGreaterThan(200);
  await page.evaluate(() => (document.documentElement.dataset.theme = "dark"));
  await expect.poll(async () => (await ruler())[0]).toBeLessThan(80);
});

test("clicks choose, drags move and stretch notes", async ({ page }) => {
  await open(page);
  const place = await placeOf(page, 1);
  const y = place.y + place.height / 2;
  await page.mouse.click(place.x + 12, y);
  await expect.poll(() => page.evaluate(() => window.lab.chosen)).toEqual([1]);
  await page.mouse.move(place.x + 12, y);
  await page.mouse.down();
  await page.mouse.move(place.x + 12 + place.width / 2, y - place.height - 1, { steps: 4 });
  await page.mouse.up();
  // Half of its one and a half beats.
  await expect.poll(() => page.evaluate(() => window.lab.edits)).toEqual([{ kind: "move", notes: [1], byBeats: 0.75, bySemitones: 1 }]);
  const moved = await placeOf(page, 1);
  await page.mouse.move(moved.x + moved.width - 2, moved.y + moved.height / 2);
  await page.mouse.down();
  await page.mouse.move(moved.x + moved.width - 2 - moved.width / 2, moved.y + moved.height / 2, { steps: 4 });
  await page.mouse.up();
  await expect.poll(() => page.evaluate(() => window.lab.edits.at(-1))).toEqual({ kind: "resize", notes: [1], byBeats: -0.75 });
});

test("the ruler seeks at a click, and chooses bars 3 to 4 at a drag", async ({ page }) => {
  const box = await open(page);
  // The first note of each bar tells where the bar begins.
  const bars = await page.evaluate(() => [2, 3].map((bar) => window.lab.placeOf(window.lab.notes.find((note) => note.onsetBeats === bar * 4)?.id ?? -1)?.x ?? 0));
  const [third = 0, fourth = 0] = bars;
  await page.mouse.click(third + 1, box.y + 10);
  await expect.poll(() => page.evaluate(() => window.lab.sought.at(-1))).toBeCloseTo(8, 0);
  await page.mouse.move(third + 20, box.y + 10);
  await page.mouse.down();
  await page.mouse.move(fourth + 20, box.y + 10, { steps: 5 });
  await page.mouse.up();
  await expect.poll(() => page.evaluate(() => window.lab.selection)).toEqual({ firstBar: 3, lastBar: 4, tracks: null });
  await page.mouse.dblclick(third + 20, box.y + 10);
  await expect.poll(() => page.evaluate(() => window.lab.selection)).toBeNull();
});

test("a rubber band chooses the notes it touches", async ({ page }) => {
  await open(page);
  const [low, high] = [await placeOf(page, 0), await placeOf(page, 4)];
  await page.mouse.move(low.x + low.width * 0.7, low.y + low.height + 3);
  await page.mouse.down();
  await page.mouse.move(high.x + 10, high.y + 2, { steps: 6 });
  await page.mouse.up();
  await expect.poll(() => page.evaluate(() => window.lab.chosen.toSorted((a, b) => a - b))).toEqual([0, 2, 4]);
});

test("the draw tool adds a note on the grid, the erase tool takes it away", async ({ page }) => {
  await open(page, "tool=draw");
  const place = await placeOf(page, 0);
  await page.mouse.move(place.x + 2, place.y + place.height * 1.7);
  await page.mouse.down();
  await page.mouse.move(place.x + place.width / 2 - 3, place.y + place.height * 1.7, { steps: 3 });
  await page.mouse.up();
  await expect.poll(() => page.evaluate(() => window.lab.edits)).toEqual([{ kind: "add", track: 0, pitch: 59, onsetBeats: 0, durationBeats: 1 }]);
  await open(page, "tool=erase");
  await page.mouse.click(place.x + 8, place.y + place.height / 2);
  await expect.poll(() => page.evaluate(() => window.lab.edits)).toEqual([{ kind: "delete", notes: [0] }]);
});

test("by keys a note is found, chosen, moved and deleted, and what happens is said", async ({ page }) => {
  await open(page);
  const said = page.locator("[aria-live]");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Home");
  await expect(said).toHaveText("C4, bar 1 beat 1, Piano, a half");
  await page.keyboard.press("ArrowUp");
  await expect(said).toHaveText("E4, bar 1 beat 1, Piano, a half");
  await page.keyboard.press("Enter");
  const [chosen] = await page.evaluate(() => window.lab.chosen);
  await page.keyboard.press("Shift+ArrowUp");
  await expect(said).toHaveText("F4, bar 1 beat 1, Piano, a half, chosen");
  await page.keyboard.press("Alt+ArrowRight");
  await page.keyboard.press("Alt+ArrowRight");
  expect(await page.evaluate(() => window.lab.selection)).toEqual({ firstBar: 1, lastBar: 2, tracks: null });
  await page.keyboard.press("Delete");
  await expect(said).toHaveText("Deleted 1 note");
  expect(await page.evaluate(() => window.lab.edits)).toEqual([{ kind: "move", notes: [chosen], byBeats: 0, bySemitones: 1 }, { kind: "delete", notes: [chosen] }]);
  expect(await page.evaluate((id) => window.lab.placeOf(id ?? -1), chosen)).toBeNull();
});

test("axe finds nothing serious", async ({ page }) => {
  for (const theme of ["light", "dark"]) {
    await open(page, `theme=${theme}&heat=1`);
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.filter(({ impact }) => impact === "serious" || impact === "critical").map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([]);
  }
});

test("a finger scrolls, and a long press chooses", async ({ browser, baseURL }) => {
  const context = await browser.newContext({ hasTouch: true, viewport: { width: 360, height: 640 }, ...(baseURL && { baseURL }) });
  const page = await context.newPage();
  await open(page);
  const touch = await context.newCDPSession(page);
  const send = (type: "touchStart" | "touchMove" | "touchEnd", x?: number, y?: number) =>
    touch.send("Input.dispatchTouchEvent", { type, touchPoints: x === undefined || y === undefined ? [] : [{ x, y }] });
  const before = await placeOf(page, 0);
  await send("touchStart", 250, 300);
  for (const x of [230, 200, 170]) await send("touchMove", x, 300);
  await send("touchEnd");
  await expect.poll(async () => (await placeOf(page, 0)).x).toBeLessThan(before.x - 40);
  // A note of the third bar, which is seen now.
  const id = await page.evaluate(() => window.lab.notes.find((note) => note.track === 0 && note.onsetBeats === 8)?.id ?? -1);
  const place = await placeOf(page, id);
  await send("touchStart", place.x + 8, place.y + 4);
  await expect.poll(() => page.evaluate(() => window.lab.chosen)).toEqual([id]);
  await send("touchEnd");
  await context.close();
});

test("with a finger: two zoom, and a swipe up on the keys scrolls the page, on the grid the music", async ({ browser, baseURL }) => {
  const context = await browser.newContext({ hasTouch: true, viewport: { width: 360, height: 640 }, ...(baseURL && { baseURL }) });
  const page = await context.newPage();
  const box = await open(page);
  await page.addStyleTag({ content: "body { min-height: 2000px }" });
  const touch = await context.newCDPSession(page);
  const spread = (type: "touchStart" | "touchMove", by: number) =>
    touch.send("Input.dispatchTouchEvent", { type, touchPoints: [{ x: 200 - by, y: 300, id: 0 }, { x: 200 + by, y: 300, id: 1 }] });
  const before = await placeOf(page, 0);
  await spread("touchStart", 30);
  for (const by of [36, 45, 60]) await spread("touchMove", by);
  await touch.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  await expect.poll(async () => (await placeOf(page, 0)).width / before.width).toBeGreaterThan(1.6);
  const swipe = async (x: number, y: number) => {
    await touch.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [{ x, y }] });
    for (let by = 15; by <= 150; by += 15) await touch.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: [{ x, y: y - by }] });
    await touch.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  };
  await swipe(200, box.y + 300);
  expect(await page.evaluate(() => window.scrollY)).toBe(0);
  await swipe(box.x + 12, box.y + 300);
  await expect.poll(() => page.evaluate(() => window.scrollY)).toBeGreaterThan(80);
  await context.close();
});

test("Escape takes a drag back, wherever the focus is", async ({ page }) => {
  await open(page);
  const place = await placeOf(page, 1);
  await page.mouse.move(place.x + 12, place.y + place.height / 2);
  await page.mouse.down();
  await page.mouse.move(place.x + 90, place.y + place.height / 2, { steps: 3 });
  await page.getByRole("button", { name: "Show all" }).focus();
  await page.keyboard.press("Escape");
  await page.mouse.move(place.x + 140, place.y + place.height / 2);
  await page.mouse.up();
  expect(await page.evaluate(() => window.lab.edits)).toEqual([]);
  expect(await placeOf(page, 1)).toEqual(place);
});

test("it follows the playhead, but not while the user has scrolled away", async ({ page }) => {
  const box = await open(page, "at=40");
  const id = await page.evaluate(() => window.lab.notes.find((note) => note.onsetBeats === 40)?.id ?? -1);
  const seen = async () => {
    const { x } = await placeOf(page, id);
    return x > box.x && x < box.x + box.width / 3;
  };
  await expect.poll(seen).toBe(true);
  await page.mouse.move(box.x + 300, box.y + 200);
  await page.mouse.wheel(-1200, 0);
  await expect.poll(seen).toBe(false);
  await expect.poll(seen, { timeout: 15_000 }).toBe(true);
});

test("what was scrolled and zoomed looks as if painted anew, on a phone's screen too", async ({ browser, baseURL }) => {
  for (const deviceScaleFactor of [1, 3]) {
    const context = await browser.newContext({ deviceScaleFactor, viewport: { width: 700, height: 540 }, ...(baseURL && { baseURL }) });
    const page = await context.newPage();
    const box = await open(page, "notes=3000&theme=light");
    await page.mouse.move(box.x + 300, box.y + 200);
    for (const [x, y] of [[130, 17], [37, -30], [-61, 44], [3, 1]] as const) {
      await page.mouse.wheel(x, y);
      await still(page);
    }
    for (const factor of [0.1, 1.3, 1.3]) {
      await page.evaluate((by) => window.lab.zoom(by), factor);
      await page.mouse.wheel(21, 9);
      await still(page);
    }
    const scrolled = await page.screenshot();
    for (const theme of ["dark", "light"]) {
      await page.evaluate((name) => (document.documentElement.dataset.theme = name), theme);
      await still(page);
    }
    expect(await differing(page, scrolled, await page.screenshot())).toBeLessThan(20);
    await context.close();
  }
});

/** Until nothing is painted any more. */
async function still(page: Page): Promise<void> {
  await page.evaluate(async () => {
    for (let quiet = 0, told = -1; quiet < 8; ) {
      await new Promise((done) => requestAnimationFrame(done));
      quiet = window.lab.frames.length === told ? quiet + 1 : 0;
      told = window.lab.frames.length;
    }
  });
}

/** How many pixels of two pictures are not nearly the same. */
function differing(page: Page, one: Buffer, other: Buffer): Promise<number> {
  return page.evaluate(async (pictures) => {
    const [a, b] = await Promise.all(pictures.map(async (base64) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))]));
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context?.drawImage(bitmap, 0, 0);
      return context?.getImageData(0, 0, bitmap.width, bitmap.height).data ?? new Uint8ClampedArray();
    }));
    let count = 0;
    for (let at = 0; at < (a?.length ?? 0); at += 4) if ([0, 1, 2].some((part) => Math.abs((a?.[at + part] ?? 0) - (b?.[at + part] ?? 999)) > 24)) count++;
    return count;
  }, [one.toString("base64"), other.toString("base64")]);
}

test("10,000 notes: only those in view are painted, while scrolling, zooming and playing", async ({ page }) => {
  const box = await open(page, "notes=10000");
  const inView = await page.evaluate((width) => window.lab.notes.filter((note) => {
    const place = window.lab.placeOf(note.id);
    return place && place.x < width + 4 && place.x + place.width > -4;
  }).length, box.x + box.width);
  const first = await page.evaluate(() => window.lab.frames.findLast((frame) => frame.notesDrawn > 0)?.notesDrawn ?? 0);
  expect(first).toBeGreaterThan(50);
  expect(first).toBeLessThanOrEqual(inView);
  for (const what of ["scrolling and playing", "playing", "all in view, scrolling up and down", "all in view, zooming"] as const) {
    const told = await measure(page, what);
    test.info().annotations.push({ type: "frames", description: told });
    console.log(told);
  }
});

/** Frames that the browser gave in two seconds, and what painting cost. */
async function measure(page: Page, what: string): Promise<string> {
  const figures = await page.evaluate(async (doing) => {
    const canvas = document.querySelector(".roll-above");
    window.lab.play(doing.includes("playing"));
    if (doing.startsWith("all")) window.lab.fit();
    window.lab.frames.length = 0;
    const times: number[] = [];
    const startMs = performance.now();
    let frame = 0;
    while (performance.now() - startMs < 2000) {
      if (doing.includes("scrolling")) canvas?.dispatchEvent(new WheelEvent("wheel", { deltaX: doing.startsWith("all") ? 0 : 9, deltaY: frame % 20 < 10 ? 6 : -6, bubbles: true, cancelable: true }));
      // In by 5 % a frame, and out again.
      if (doing.includes("zooming")) canvas?.dispatchEvent(new WheelEvent("wheel", { clientX: 600, clientY: 200, ctrlKey: true, deltaY: frame % 60 < 30 ? -6 : 6, bubbles: true, cancelable: true }));
      frame++;
      times.push(await new Promise<number>((done) => requestAnimationFrame(done)));
    }
    window.lab.play(false);
    const painted = window.lab.frames.map((one) => one.paintedMs).sort((a, b) => a - b);
    const at = (share: number) => (painted[Math.floor((painted.length - 1) * share)] ?? 0).toFixed(1);
    return { fps: ((times.length - 1) * 1000) / ((times.at(-1) ?? 0) - (times[0] ?? 0)), half: at(0.5), most: at(0.95), drawn: Math.max(...window.lab.frames.map((one) => one.notesDrawn)) };
  }, what);
  return `10,000 notes, ${what}: ${figures.fps.toFixed(1)} frames a second, painting ${figures.half} ms (median), ${figures.most} ms (95 %), at most ${figures.drawn} notes a frame`;
}
