import { describe, expect, it } from "vitest";
import { draws } from "./testing";
import { beatsAt, clamped, followed, gridWidth, lastBeats, LEAD_PX, revealed, rowAt, scrolled, type Viewport, withRowsFitted, xOf, yOf, zoomedBeats, zoomedRows } from "./viewport";

const VIEW: Viewport = { width: 840, height: 428, keysWidth: 40, rulerHeight: 28, scrollBeats: 16, scrollRows: 10, beatPx: 20, rowPx: 10 };
const EXTENT = { beats: 400, rows: 88 };

describe("the viewport", () => {
  it("turns beats and rows to pixels and back", () => {
    const draw = draws(1);
    for (let round = 0; round < 200; round++) {
      const beats = draw() * 400;
      const row = Math.floor(draw() * 88);
      expect(beatsAt(VIEW, xOf(VIEW, beats))).toBeCloseTo(beats, 9);
      expect(rowAt(VIEW, yOf(VIEW, row) + 5)).toBe(row);
    }
    expect(xOf(VIEW, 16)).toBe(40);
    expect(yOf(VIEW, 10)).toBe(28);
  });

  it("keeps what stands under the pointer while zooming", () => {
    const within = { ...VIEW, scrollBeats: 100 };
    for (const factor of [0.5, 0.9, 1.3, 3]) {
      const x = 500;
      expect(beatsAt(zoomedBeats(within, EXTENT, factor, x), x)).toBeCloseTo(beatsAt(within, x), 6);
      const y = 200;
      const rows = (view: Viewport) => view.scrollRows + (y - view.rulerHeight) / view.rowPx;
      expect(rows(zoomedRows(VIEW, EXTENT, 1.4, y))).toBeCloseTo(rows(VIEW), 6);
    }
  });

  it("never shows less than a corner of the music, however it is scrolled and zoomed", () => {
    const draw = draws(9);
    let view = VIEW;
    for (let round = 0; round < 500; round++) {
      const what = draw();
      if (what < 0.4) view = scrolled(view, EXTENT, (draw() - 0.5) * 30000, (draw() - 0.5) * 3000);
      else if (what < 0.7) view = zoomedBeats(view, EXTENT, Math.exp((draw() - 0.5) * 6), draw() * 840);
      else view = zoomedRows(view, EXTENT, Math.exp((draw() - 0.5) * 6), draw() * 428);
      expect(xOf(view, 0)).toBeLessThanOrEqual(view.keysWidth + LEAD_PX + 1e-6);
      expect(xOf(view, EXTENT.beats)).toBeGreaterThan(view.keysWidth + gridWidth(view) / 2);
      expect(view.scrollRows).toBeGreaterThanOrEqual(0);
    }
  });

  it("shows the whole piece when zoomed out, from before its first beat to behind its last", () => {
    const out = clamped({ ...VIEW, beatPx: 0, scrollBeats: 0 }, EXTENT);
    const shown = scrolled(out, EXTENT, -1000, 0);
    expect(xOf(shown, 0)).toBeCloseTo(40 + LEAD_PX);
    expect(lastBeats(shown)).toBeGreaterThan(400);
  });

  it("makes all rows that sound seen, where they can be read", () => {
    const fitted = withRowsFitted(VIEW, EXTENT, [30, 60]);
    expect(yOf(fitted, 30)).toBeGreaterThanOrEqual(28);
    expect(yOf(fitted, 61)).toBeLessThanOrEqual(428);
  });

  it("follows the playhead only when it leaves, and then shows it at the left", () => {
    expect(followed(VIEW, 20)).toBeNull();
    for (const beats of [2, 55, 300]) {
      const x = xOf({ ...VIEW, scrollBeats: followed(VIEW, beats) ?? NaN }, beats);
      expect(x).toBeGreaterThan(VIEW.keysWidth);
      expect(x).toBeLessThan(VIEW.keysWidth + 100);
    }
  });

  it("scrolls to what is not seen, and not at all to what is", () => {
    const rectAt = (view: Viewport, beats: number, row: number) => ({ x: xOf(view, beats), y: yOf(view, row), width: 30, height: 10 });
    expect(revealed(VIEW, EXTENT, rectAt(VIEW, 25, 20))).toBe(VIEW);
    for (const [beats, row] of [[3, 20], [200, 80], [30, 2]] as const) {
      const rect = rectAt(revealed(VIEW, EXTENT, rectAt(VIEW, beats, row)), beats, row);
      expect(rect.x).toBeGreaterThanOrEqual(40);
      expect(rect.x + rect.width).toBeLessThanOrEqual(840);
      expect(rect.y).toBeGreaterThanOrEqual(28);
      expect(rect.y + rect.height).toBeLessThanOrEqual(428);
    }
  });
});
