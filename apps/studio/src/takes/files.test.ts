import { expect, test } from "vitest";
import { MidiUnreadable, writeMidi } from "../music/midi";
import { pieceWith } from "../music/testing";
import { FILE_LIMITS, fileName, takeOfFile } from "./files";

const file = (name: string, bytes: Uint8Array<ArrayBuffer>) => new File([bytes], name);

test("a file becomes a take with its own bytes and its name", async () => {
  const piece = pieceWith([[0, 60, 0, 1], [1, 40, 1, 1]]);
  const midi = writeMidi(piece);
  const take = await takeOfFile(file("My song.v2.MID", midi));
  expect(take).toMatchObject({ name: "My song.v2", asked: null, parent: null });
  expect([...(take.midi ?? [])]).toEqual([...midi]);
  expect(take.piece.notes).toHaveLength(2);
});

test("what cannot be opened is told with its limit", async () => {
  await expect(takeOfFile(file("huge.mid", new Uint8Array(3 * 2 ** 20)))).rejects.toThrow("3.0 MB");
  await expect(takeOfFile(file("empty.mid", writeMidi(pieceWith([]))))).rejects.toThrow("no notes");
  const stray = pieceWith([[0, 60, 0, 1], [0, 60, 60_000, 1]]);
  await expect(takeOfFile(file("stray.mid", writeMidi(stray)))).rejects.toThrow("for days");
  const many = pieceWith(Array.from({ length: FILE_LIMITS.notes + 1 }, (_, at) => [0, at % 128, at / 100, 0.01] as const));
  await expect(takeOfFile(file("many.mid", writeMidi(many)))).rejects.toThrow("20,001 notes");
  await expect(takeOfFile(file("song.mp3", new Uint8Array(100)))).rejects.toBeInstanceOf(MidiUnreadable);
});

test.each([
  ["Infill 2", "Infill 2.mid"],
  ["../../etc/passwd", "etc passwd.mid"],
  ["3 · Chords in F♯ minor", "3 Chords in F# minor.mid"],
  ["con", "con take.mid"],
  ["Lpt1.x", "Lpt1.x take.mid"],
  ["Für Élise (2)", "Für Élise (2).mid"],
  ["曲", "曲.mid"],
  ["a\u0000b\nc:d*e?\"<>|", "a b c d e.mid"],
  ["...", "take.mid"],
  ["", "take.mid"],
  ["x".repeat(300), `${"x".repeat(80)}.mid`],
])("a take named %j is the file %s", (name, expected) => {
  expect(fileName(name, "mid")).toBe(expected);
});
