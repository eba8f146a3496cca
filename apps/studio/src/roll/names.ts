import { trackName } from "../music/instruments";
import type { Note, Piece } from "../music/piece";
import { type BarLine, barOf } from "../music/bars";

const WRITTEN = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
const SPOKEN = ["C", "C sharp", "D", "D sharp", "E", "F", "F sharp", "G", "G sharp", "A", "A sharp", "B"];

const octave = (pitch: number) => Math.floor(pitch / 12) - 1;
/** Middle C, 60, is C4. */
export const pitchName = (pitch: number) => `${WRITTEN[pitch % 12] ?? ""}${octave(pitch)}`;
export const pitchSpoken = (pitch: number) => {
  const name = SPOKEN[pitch % 12] ?? "";
  return name.length > 1 ? `${name} ${octave(pitch)}` : `${name}${octave(pitch)}`;
};

export const isBlackKey = (pitch: number) => [1, 3, 6, 8, 10].includes(pitch % 12);

/** General MIDI's percussion, from 35. */
const DRUM_NAMES = [
  "Bass drum 2", "Bass drum", "Side stick", "Snare", "Hand clap", "Snare 2", "Low floor tom", "Closed hi-hat", "High floor tom", "Pedal hi-hat",
  "Low tom", "Open hi-hat", "Low-mid tom", "High-mid tom", "Crash", "High tom", "Ride", "China", "Ride bell", "Tambourine", "Splash", "Cowbell",
  "Crash 2", "Vibraslap", "Ride 2", "High bongo", "Low bongo", "Mute conga", "Open conga", "Low conga", "High timbale", "Low timbale",
  "High agogo", "Low agogo", "Cabasa", "Maracas", "Short whistle", "Long whistle", "Short guiro", "Long guiro", "Claves", "High woodblock",
  "Low woodblock", "Mute cuica", "Open cuica", "Mute triangle", "Open triangle",
];
export const drumName = (pitch: number) => DRUM_NAMES[pitch - 35] ?? `Drum ${pitch}`;

const LENGTHS: readonly (readonly [number, string])[] = [
  [6, "a dotted whole note"], [4, "a whole note"], [3, "a dotted half"], [2, "a half"], [1.5, "a dotted quarter"], [4 / 3, "a half triplet"],
  [1, "a quarter"], [0.75, "a dotted eighth"], [2 / 3, "a quarter triplet"], [0.5, "an eighth"], [0.375, "a dotted sixteenth"],
  [1 / 3, "an eighth triplet"], [0.25, "a sixteenth"], [1 / 6, "a sixteenth triplet"], [0.125, "a thirty-second"],
];

const plain = (value: number) => String(Math.round(value * 100) / 100);

/** The name of a written length, if it is within a twentieth of one. */
export function lengthName(beats: number): string {
  const found = LENGTHS.find(([length]) => Math.abs(beats / length - 1) <= 0.05);
  return found?.[1] ?? `${plain(beats)} beats`;
}

export function placeName(bars: readonly BarLine[], beats: number): string {
  const bar = barOf(bars, beats);
  return `bar ${bar.number} beat ${plain((beats - bar.onsetBeats) / bar.unitBeats + 1)}`;
}

/** Such as "C4, bar 3 beat 2, Piano, an eighth". */
export function noteSpoken(note: Note, piece: Piece, bars: readonly BarLine[], chosen: boolean): string {
  const name = piece.tracks[note.track]?.program === -1 ? drumName(note.pitch) : pitchSpoken(note.pitch);
  const parts = [name, placeName(bars, note.onsetBeats), trackName(piece, note.track), lengthName(note.durationBeats)];
  return (chosen ? [...parts, "chosen"] : parts).join(", ");
}
