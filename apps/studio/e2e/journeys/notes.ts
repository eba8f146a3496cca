import { readFileSync } from "node:fs";
import type { Download } from "@playwright/test";
import { BasicMIDI } from "spessasynth_core";

export interface ReadNote {
  /** Among the tracks that have notes. */
  readonly track: number;
  readonly pitch: number;
  readonly onsetBeats: number;
}

/** The notes of a MIDI file, as a reader reads it that is not the page's own: by onset, track and pitch. */
export function notesIn(midi: Buffer): ReadNote[] {
  const { tracks, timeDivision } = BasicMIDI.fromArrayBuffer(new Uint8Array(midi).buffer);
  const begins = tracks.map(({ events }) => events.filter(({ statusByte, data }) => (statusByte & 0xf0) === 0x90 && (data[1] ?? 0) > 0));
  return begins
    .filter((events) => events.length > 0)
    .flatMap((events, track) => events.map(({ ticks, data }) => ({ track, pitch: data[0] ?? 0, onsetBeats: ticks / timeDivision })))
    .sort((a, b) => a.onsetBeats - b.onsetBeats || a.track - b.track || a.pitch - b.pitch);
}

const NAMES = ["C", "C sharp", "D", "D sharp", "E", "F", "F sharp", "G", "G sharp", "A", "A sharp", "B"];

/** As the roll speaks a note in music of four quarters a bar: "C4, bar 3 beat 2". */
export function spokenOf({ pitch, onsetBeats }: ReadNote): string {
  const name = NAMES[pitch % 12] ?? "";
  const beat = Math.round(((onsetBeats % 4) + 1) * 100) / 100;
  return `${name}${name.length > 1 ? " " : ""}${Math.floor(pitch / 12) - 1}, bar ${Math.floor(onsetBeats / 4) + 1} beat ${beat}`;
}

export async function bytesOf(download: Download): Promise<Buffer> {
  return readFileSync(await download.path());
}

/** The largest of a 16-bit WAV file's samples, as a share of full scale. */
export function peakOf(wav: Buffer): number {
  let at = 12;
  while (wav.toString("latin1", at, at + 4) !== "data") at += 8 + wav.readUInt32LE(at + 4);
  const end = Math.min(wav.length, at + 8 + wav.readUInt32LE(at + 4)) - 1;
  let most = 0;
  for (let sample = at + 8; sample < end; sample += 2) most = Math.max(most, Math.abs(wav.readInt16LE(sample)));
  return most / 32768;
}
