// @vitest-environment node
import { readFileSync } from "node:fs";
import { BasicSoundBank } from "spessasynth_core";
import { expect, test, vi } from "vitest";
import type { Piece } from "../music/piece";
import { RELEASE_SECONDS, renderWav } from "./render";

// Generous: a busy machine is no failure.
vi.setConfig({ testTimeout: 30_000 });

function soundFont(): ArrayBuffer {
  const path = process.env.SOUNDFONT;
  return path ? new Uint8Array(readFileSync(path)).buffer : BasicSoundBank.getSampleSoundBankFile();
}

const piece: Piece = {
  notes: [0, 1, 2, 3].map((beat) => ({ id: beat, track: 0, pitch: 60 + beat, velocity: 100, onsetBeats: beat, durationBeats: 0.5 })),
  tracks: [{ name: "Piano", program: 0 }],
  tempos: [{ onsetBeats: 0, bpm: 60 }],
  metres: [],
};

function samplesOf(wav: Uint8Array<ArrayBuffer>): Int16Array {
  const view = new DataView(wav.buffer);
  let at = 12;
  while (view.getUint32(at, false) !== 0x64617461) at += 8 + view.getUint32(at + 4, true);
  return new Int16Array(wav.buffer.slice(at + 8, at + 8 + view.getUint32(at + 4, true)));
}

test("as long as the piece and its release, at a peak of 0.9, heard where notes are", async () => {
  const shares: number[] = [];
  const wav = await renderWav(piece, soundFont(), (share) => shares.push(share));
  const view = new DataView(wav.buffer);
  expect([view.getUint16(22, true), view.getUint32(24, true), view.getUint16(34, true)]).toEqual([2, 44_100, 16]);
  const samples = samplesOf(wav);
  expect(samples.length / 2 / 44_100).toBeCloseTo(3.5 + RELEASE_SECONDS, 3);
  const loudest = (fromSeconds: number, toSeconds: number) => samples.slice(fromSeconds * 88_200, toSeconds * 88_200).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0) / 32_768;
  expect(loudest(0, 6)).toBeCloseTo(0.9, 2);
  for (const beat of [0, 1, 2, 3]) expect(loudest(beat, beat + 0.4)).toBeGreaterThan(0.2);
  expect(shares.at(-1)).toBe(1);
  expect(shares).toEqual([...shares].sort((a, b) => a - b));
});

test("more tracks than MIDI has channels", async () => {
  const tracks = Array.from({ length: 20 }, () => ({ name: "", program: 0 }));
  const wav = await renderWav({ ...piece, tracks, notes: piece.notes.map((note) => ({ ...note, track: 19 })) }, soundFont(), () => undefined);
  expect(samplesOf(wav).some((sample) => Math.abs(sample) > 10_000)).toBe(true);
});

test("a piece without notes is refused", async () => {
  await expect(renderWav({ ...piece, notes: [] }, soundFont(), () => undefined)).rejects.toThrow("no notes to hear");
});
