import { BasicMIDI } from "spessasynth_core";
import { describe, expect, test } from "vitest";
import { MidiUnreadable, TICKS_PER_BEAT, pieceOf, readMidi, writeMidi } from "./midi";
import { DRUMS } from "./piece";
import type { Note } from "./piece";
import { pieceWith, randomPiece } from "./testing";

/** `midifactory serve` with the model in the box, {"bars": 2, "seed": 7}: its file, and notes it told of. */
const SERVED =
  "TVRoZAAAAAYAAQAEAeBNVHJrAAAATgD/WAQEAhgIAP9RAwtxsAD/AwZWaW9saW4AwCiLIJBFZINggEVkAJBFZINggEVkAJBDZINggENkAJBFZINggEVkAJBIZINggEhkAf8vAE1UcmsAAABHAP8DBVZpb2xhAMEp" +
  "iyCRQGSDYIFAZACRQmSDYIFCZACRQ2SDYIFDZACRQmSDYIFCZACRQ2SBcIFDZACRQmSBcIFCZAH/LwBNVHJrAAAAUAD/AwVDZWxsbwDCKosgkj1kg2CCPWQAkj5kg2CCPmQAkkBkg2CCQGQAkj5kgXCCPmQAkjxk" +
  "gXCCPGQAkj5kgXCCPmQAkjxkgXCCPGQB/y8ATVRyawAAAEwA/wMKQ29udHJhYmFzcwDDK4sgky1kgXCDLWQAkz1kgXCDPWQAkz5kg2CDPmQAkzxkg2CDPGQAkz5kg2CDPmQAkytkg2CDK2QB/y8A";

const bytesOf = (text: string) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const plain = (notes: readonly Note[]) => notes.map(({ track, pitch, velocity, onsetBeats, durationBeats }) => [track, pitch, velocity, onsetBeats, durationBeats]);

/** Notes of a file by another reader: each chunk's keys as [chunk, channel, pitch, velocity, on tick, off tick]; a key struck anew before its end is an error. */
function keysOf(bytes: Uint8Array): number[][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const keys: number[][] = [];
  let at = 14;
  for (let chunk = 0; at < bytes.length; chunk++) {
    const end = at + 8 + view.getUint32(at + 4);
    at += 8;
    let [tick, status] = [0, 0];
    const down = new Map<number, number[]>();
    const amount = () => {
      let value = 0;
      for (;;) {
        const byte = view.getUint8(at++);
        value = value * 128 + (byte & 127);
        if (byte < 128) return value;
      }
    };
    while (at < end) {
      tick += amount();
      if (view.getUint8(at) >= 128) status = view.getUint8(at++);
      if (status === 0xff) {
        at++;
        const size = amount();
        at += size;
        continue;
      }
      const [kind, channel, first] = [status >> 4, status & 15, view.getUint8(at++)];
      if (kind === 12 || kind === 13) continue;
      const second = view.getUint8(at++);
      if (kind === 9 && second > 0) {
        if (down.has(first)) throw new Error(`key ${first} is struck twice at ${tick}`);
        down.set(first, [chunk, channel, first, second, tick]);
      } else if (kind === 8 || kind === 9) {
        keys.push([...(down.get(first) ?? []), tick]);
        down.delete(first);
      }
    }
    expect(down.size).toBe(0);
  }
  return keys;
}

test("a piece survives being written and read, tempos, metres and names too", () => {
  for (let seed = 0; seed < 20; seed++) {
    const piece = randomPiece(seed);
    const again = readMidi(writeMidi(piece));
    expect(plain(again.notes), `seed ${seed}`).toEqual(plain(piece.notes));
    expect(again.tracks).toEqual(piece.tracks);
    expect(again.metres).toEqual(piece.metres);
    expect(again.tempos.map(({ onsetBeats }) => onsetBeats)).toEqual(piece.tempos.map(({ onsetBeats }) => onsetBeats));
    again.tempos.forEach(({ bpm }, index) => expect(bpm).toBeCloseTo(piece.tempos[index]?.bpm ?? 0, 2));
    expect(writeMidi(again), "nothing wanders when it is written again").toEqual(writeMidi(piece));
  }
});

test("another reader finds the same keys, each off before it is struck again", () => {
  for (let seed = 100; seed < 130; seed++) {
    const piece = randomPiece(seed);
    const keys = keysOf(writeMidi(piece)).map(([chunk = 0, , ...rest]) => [chunk - 1, ...rest]);
    const expected = piece.notes.map((note) => [note.track, note.pitch, note.velocity, note.onsetBeats * TICKS_PER_BEAT, (note.onsetBeats + note.durationBeats) * TICKS_PER_BEAT].map(Math.round));
    const sorted = (rows: number[][]) => rows.map((row) => row.join(" ")).sort();
    expect(sorted(keys)).toEqual(sorted(expected));
  }
});

test("drums are on channel 10 and nothing else is; as many instruments as there are channels have one each", () => {
  const piece = pieceWith(Array.from({ length: 16 }, (_, track) => [track, 60, 0, 1] as const), [DRUMS, ...Array.from({ length: 15 }, (_, program) => program)]);
  const channels = keysOf(writeMidi(piece)).sort(([one = 0], [other = 0]) => one - other).map(([, channel]) => channel);
  expect(channels[0]).toBe(9);
  expect(new Set(channels).size).toBe(16);
});

test("a key that is struck while it sounds ends there", () => {
  const piece = pieceWith([[0, 60, 0, 4], [0, 60, 1, 1], [0, 64, 0, 2]]);
  expect(keysOf(writeMidi(piece)).map(([, , pitch, , on = 0, off = 0]) => [pitch, on / TICKS_PER_BEAT, off / TICKS_PER_BEAT])).toEqual([[60, 0, 1], [60, 1, 2], [64, 0, 2]]);
});

describe("a file of the server's", () => {
  test("has the notes that the server told of", () => {
    const piece = readMidi(bytesOf(SERVED));
    expect(piece.tracks).toEqual([{ name: "Violin", program: 40 }, { name: "Viola", program: 41 }, { name: "Cello", program: 42 }, { name: "Contrabass", program: 43 }]);
    expect(plain(piece.notes).slice(0, 5)).toEqual([[0, 69, 100, 3, 1], [1, 64, 100, 3, 1], [2, 61, 100, 3, 1], [3, 45, 100, 3, 0.5], [3, 61, 100, 3.5, 0.5]]);
    expect(piece.notes).toHaveLength(24);
    expect(piece.tempos).toEqual([{ onsetBeats: 0, bpm: 80 }]);
  });

  test("and what it tells becomes the same piece", () => {
    const piece = readMidi(bytesOf(SERVED));
    const notes = piece.notes.map((note) => ({ program: 0, track: note.track, pitch: note.pitch, velocity: note.velocity, onset_beats: note.onsetBeats, duration_beats: note.durationBeats, onset_seconds: 0, duration_seconds: 0 }));
    expect(pieceOf({ notes, tracks: [...piece.tracks], tempos: [{ onset_beats: 0, bpm: 80 }], metres: [{ onset_beats: 0, metre: "4/4" }] })).toEqual(piece);
  });
});

test("tracks are numbered as the server numbers them: by channel and program, without empty ones", () => {
  const events = [0, 0xc3, 5, 0, 0xc1, 7, 0, 0x93, 60, 90, 0, 0x91, 62, 90, 0, 0x99, 36, 90, 0, 0x92, 64, 80, 100, 0x83, 60, 0, 0, 0x81, 62, 0, 0, 0x89, 36, 0, 0, 0x92, 64, 0, 0, 0xff, 0x2f, 0];
  const file = Uint8Array.from([0x4d, 0x54, 0x68, 0x64, 0, 0, 0, 6, 0, 0, 0, 1, 0, 100, 0x4d, 0x54, 0x72, 0x6b, 0, 0, 0, events.length, ...events]);
  const piece = readMidi(file);
  expect(piece.tracks.map((track) => track.program)).toEqual([7, 0, 5, DRUMS]);
  expect(piece.notes.map((note) => note.durationBeats)).toEqual([1, 1, 1, 1]);
});

/** A file of one or more tracks, given by their bytes. */
function fileWith(format: number, division: number, ...tracks: number[][]): Uint8Array {
  const chunks = tracks.flatMap((events) => [0x4d, 0x54, 0x72, 0x6b, 0, events.length >> 16, (events.length >> 8) & 255, events.length & 255].concat(events));
  return Uint8Array.from([0x4d, 0x54, 0x68, 0x64, 0, 0, 0, 6, 0, format, 0, tracks.length, division >> 8, division & 255].concat(chunks));
}

test("the synthesizer's own reader finds the same notes, tempos and names", () => {
  for (let seed = 40; seed < 50; seed++) {
    const piece = randomPiece(seed);
    const read = BasicMIDI.fromArrayBuffer(writeMidi(piece).buffer);
    expect(read.timeDivision).toBe(TICKS_PER_BEAT);
    const ons = read.tracks.flatMap((track, chunk) => track.events.filter(({ statusByte, data }) => statusByte >> 4 === 9 && (data[1] ?? 0) > 0).map(({ ticks, data }) => `${chunk - 1} ${data[0]} ${data[1]} ${ticks}`));
    expect(ons.sort()).toEqual(piece.notes.map((note) => `${note.track} ${note.pitch} ${note.velocity} ${Math.round(note.onsetBeats * TICKS_PER_BEAT)}`).sort());
    // Its list begins with a tempo of its own.
    expect(new Set(read.tempoChanges.map(({ ticks }) => ticks / TICKS_PER_BEAT))).toEqual(new Set(piece.tempos.map(({ onsetBeats }) => onsetBeats)));
    const names = read.tracks.slice(1).map((track) => new TextDecoder().decode(track.events.find(({ statusByte }) => statusByte === 3)?.data));
    expect(names).toEqual(piece.tracks.map(({ name }) => name));
  }
});

test("one track with all channels, left out statuses, and what is not for notes in between", () => {
  const sysex = [0, 0xf0, 3, 0x7e, 0x09, 0xf7];
  const keys = [0, 0x90, 60, 80, 0, 64, 80, 0, 0xe0, 0, 64, 100, 0x90, 60, 0, 0, 64, 0, 0, 0xd1, 9, 0, 0x91, 67, 70, 50, 67, 0];
  const piece = readMidi(fileWith(0, 100, [...sysex, 0, 0xff, 0x51, 3, 0x0f, 0x42, 0x40, 0, 0xff, 0x58, 4, 3, 2, 24, 8, ...keys, 0, 0xff, 0x2f, 0]));
  expect(plain(piece.notes)).toEqual([[0, 60, 80, 0, 1], [0, 64, 80, 0, 1], [1, 67, 70, 1, 0.5]]);
  expect(piece.tempos).toEqual([{ onsetBeats: 0, bpm: 60 }]);
  expect(piece.metres).toEqual([{ onsetBeats: 0, beatsPerBar: 3, text: "3/4" }]);
});

test("a file that strikes one key very often and never lets go is read", () => {
  const track = [0, 0x90, 60, 1];
  for (let count = 0; count < 200_000; count++) track.push(0, 60, 1);
  const piece = readMidi(fileWith(0, 96, track.concat(96, 60, 0)));
  expect(plain(piece.notes)).toEqual([[0, 60, 1, 0, 1]]);
}, 30_000);

describe("what is no MIDI file", () => {
  const good = bytesOf(SERVED);

  test.each([
    ["nothing", new Uint8Array(), /no MIDI file/],
    ["sound", new TextEncoder().encode("RIFF....WAVEfmt ........"), /no MIDI file/],
    ["a file that was cut off", good.slice(0, 120), /middle of a track/],
    ["frames of film", Uint8Array.from(good, (byte, at) => (at === 12 ? 0xe7 : byte)), /frames/],
    ["no tracks", good.slice(0, 14), /0 tracks/],
  ])("%s is said to be so", (_, bytes, said) => {
    expect(() => readMidi(bytes)).toThrow(said);
    expect(() => readMidi(bytes)).toThrow(MidiUnreadable);
  });

  test("bytes that changed on the way give music or a kind word, nothing else", () => {
    for (let at = 0; at < good.length; at++) {
      for (const value of [0, 0x7f, 0xff]) {
        const broken = good.slice();
        broken[at] = value;
        try {
          readMidi(broken);
        } catch (error) {
          expect(error, `byte ${at} as ${value}`).toBeInstanceOf(MidiUnreadable);
        }
      }
    }
  });
});
