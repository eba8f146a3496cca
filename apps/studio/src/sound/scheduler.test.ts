import { describe, expect, test, vi } from "vitest";
import type { Note, Piece, Tempo } from "../music/piece";
import { Scheduler } from "./scheduler";
import { numbersBelow } from "../music/testing";
import type { NoteSink } from "./voices";

// Generous: a busy machine is no failure.
vi.setConfig({ testTimeout: 30_000 });

interface Heard {
  readonly kind: "on" | "off";
  readonly track: number;
  readonly pitch: number;
  readonly seconds: number;
}

/** Voices that, like an instrument, let a silenced channel forget what it was to play later. */
class FakeVoices implements NoteSink {
  heard: Heard[] = [];
  constructor(readonly now: () => number) {}
  noteOn(track: number, pitch: number, _velocity: number, seconds: number): void {
    this.heard.push({ kind: "on", track, pitch, seconds });
  }
  noteOff(track: number, pitch: number, seconds: number): void {
    this.heard.push({ kind: "off", track, pitch, seconds });
  }
  silence(track: number): void {
    const now = this.now();
    this.heard = this.heard.filter((event) => event.track !== track || event.seconds <= now);
    for (const pitch of this.sounding(track)) this.heard.push({ kind: "off", track, pitch, seconds: now });
  }
  sounding(track: number): number[] {
    const on = new Set<number>();
    for (const event of this.heard.filter((one) => one.track === track)) {
      if (event.kind === "on") on.add(event.pitch);
      else on.delete(event.pitch);
    }
    return [...on];
  }
}

function name(event: Heard): string {
  return `${String(event.track)}/${String(event.pitch)} ${event.kind}`;
}

function byName(events: readonly Heard[]): readonly Heard[] {
  return [...events].sort((a, b) => name(a).localeCompare(name(b)) || a.seconds - b.seconds);
}

/** The same events at the same times; and each note is ended before its key begins again, also where both come at one time. */
function expectHeard(heard: readonly Heard[], wanted: readonly Heard[], seed: number): void {
  const is = byName(heard);
  const should = byName(wanted);
  expect(is.map(name), `seed ${String(seed)}`).toEqual(should.map(name));
  is.forEach((event, i) => expect(event.seconds, `seed ${String(seed)}: ${name(event)}`).toBeCloseTo(should[i]?.seconds ?? NaN, 6));
  for (const key of new Set(heard.map((event) => `${String(event.track)}/${String(event.pitch)}`))) {
    const events = heard.filter((event) => key === `${String(event.track)}/${String(event.pitch)}`);
    expect(events.every((event, i) => event.kind === (i % 2 === 0 ? "on" : "off")), `seed ${String(seed)}`).toBe(true);
  }
}

class Stage {
  seconds = 10;
  readonly voices = new FakeVoices(() => this.seconds);
  readonly scheduler = new Scheduler(this.voices, () => this.seconds);

  /** Runs the timer with steps of different lengths, as browsers do. */
  run(forSeconds: number, random: (below: number) => number = () => 30, untilEnd = true): string {
    const end = this.seconds + forSeconds;
    let progress: string = "going";
    while (this.seconds < end) {
      progress = this.scheduler.advance(0.2);
      if (progress === "ended" && untilEnd) break;
      this.seconds += (20 + random(60)) / 1000;
    }
    return progress;
  }
}

function note(id: number, track: number, pitch: number, onsetBeats: number, durationBeats: number): Note {
  return { id, track, pitch, velocity: 80, onsetBeats, durationBeats };
}

function pieceOf(notes: readonly Note[], tempos: readonly Tempo[] = [{ onsetBeats: 0, bpm: 120 }]): Piece {
  const tracks = Math.max(0, ...notes.map((one) => one.track)) + 1;
  return { notes, tempos, metres: [], tracks: Array.from({ length: tracks }, (_, i) => ({ name: String(i), program: i })) };
}

function randomPiece(random: (below: number) => number): Piece {
  const notes = Array.from({ length: 5 + random(60) }, (_, id) => note(id, random(3), 60 + random(5), random(64) / 4, (1 + random(12)) / 4));
  const tempos = [{ onsetBeats: 0, bpm: 60 + random(120) }, { onsetBeats: 3 + random(20) / 4, bpm: 60 + random(120) }];
  return pieceOf(notes, tempos);
}

/** By small steps, and nothing shared with what is tested. */
function secondsAt(piece: Piece, beats: number): number {
  const [first, second] = piece.tempos;
  if (!first) return beats / 2;
  if (!second || beats <= second.onsetBeats) return (beats * 60) / first.bpm;
  return (second.onsetBeats * 60) / first.bpm + ((beats - second.onsetBeats) * 60) / second.bpm;
}

/** What is to be heard of one pass through the beats [from, to), which begins at `start`. */
function pass(piece: Piece, from: number, to: number, start: number, audible: (track: number) => boolean = () => true): Heard[] {
  const at = (beats: number) => start + secondsAt(piece, beats) - secondsAt(piece, from);
  return piece.notes
    .filter((one) => audible(one.track) && one.onsetBeats >= from && one.onsetBeats < to)
    // Of equal notes the longest, the first among those.
    .filter((one) => !piece.notes.some((other) => other !== one && other.track === one.track && other.pitch === one.pitch && other.onsetBeats === one.onsetBeats
      && (other.durationBeats > one.durationBeats || (other.durationBeats === one.durationBeats && other.id < one.id))))
    .flatMap((one) => {
      const again = piece.notes.filter((other) => other.track === one.track && other.pitch === one.pitch && other.onsetBeats > one.onsetBeats).map((other) => other.onsetBeats);
      const end = Math.min(one.onsetBeats + one.durationBeats, to, ...again);
      return [
        { kind: "on" as const, track: one.track, pitch: one.pitch, seconds: at(one.onsetBeats) },
        { kind: "off" as const, track: one.track, pitch: one.pitch, seconds: at(end) },
      ];
    });
}

const LEAD = 0.03;
const SEEDS = Array.from({ length: 40 }, (_, i) => i + 1);

describe("random pieces against a naive list of events", () => {
  test("from the begin to the end", () => {
    for (const seed of SEEDS) {
      const random = numbersBelow(seed);
      const piece = randomPiece(random);
      const stage = new Stage();
      stage.scheduler.load(piece, false);
      stage.scheduler.start();
      expect(stage.run(60, random)).toBe("ended");
      expectHeard(stage.voices.heard, pass(piece, 0, Infinity, 10 + LEAD), seed);
    }
  });

  test("from anywhere, with tracks that are muted from the begin", () => {
    for (const seed of SEEDS) {
      const random = numbersBelow(seed);
      const piece = randomPiece(random);
      const from = random(40) / 4;
      const stage = new Stage();
      stage.scheduler.load(piece, false);
      stage.scheduler.setAudible((track) => track !== 1);
      stage.scheduler.seek(from);
      stage.scheduler.start();
      stage.run(60, random);
      expectHeard(stage.voices.heard, pass(piece, from, Infinity, 10 + LEAD, (track) => track !== 1), seed);
    }
  });

  test("three times round a loop, to the exact time", () => {
    for (const seed of SEEDS) {
      const random = numbersBelow(seed);
      const piece = randomPiece(random);
      const loop = [random(16) / 4, 5 + random(16) / 4] as const;
      const turn = secondsAt(piece, loop[1]) - secondsAt(piece, loop[0]);
      const stage = new Stage();
      stage.scheduler.load(piece, false);
      stage.scheduler.setLoop(loop);
      stage.scheduler.start();
      const from = loop[0];
      const start = 10 + LEAD;
      stage.run(3 * turn, random);
      const wanted = [0, 1, 2].flatMap((time) => pass(piece, from, loop[1], start + time * turn));
      const until = start + 3 * turn - 1e-4;
      const early = (events: readonly Heard[]) => events.filter((event) => event.seconds < until);
      expectHeard(early(stage.voices.heard), early(wanted), seed);
      const place = stage.scheduler.positionBeats();
      expect(place).toBeGreaterThanOrEqual(loop[0]);
      expect(place).toBeLessThanOrEqual(loop[1]);
    }
  });

  test("growing in time, it sounds as if it had been there at once", () => {
    for (const seed of SEEDS) {
      const random = numbersBelow(seed);
      const whole = randomPiece(random);
      const ordered = [...whole.notes].sort((a, b) => a.onsetBeats - b.onsetBeats);
      const stage = new Stage();
      stage.scheduler.load({ ...whole, notes: ordered.filter((one) => one.onsetBeats < 4) }, true);
      stage.scheduler.start();
      // Eight beats come ahead of what is played, so it never waits.
      for (let beats = 8; beats <= 24; beats += 1) {
        stage.scheduler.load({ ...whole, notes: ordered.filter((one) => one.onsetBeats < beats) }, beats < 24);
        stage.run(0.1, random, false);
      }
      stage.run(60, random);
      expectHeard(stage.voices.heard, pass(whole, 0, Infinity, 10 + LEAD), seed);
    }
  });

  test("whatever is done to it, nothing goes on sounding after a halt", () => {
    for (const seed of SEEDS) {
      const random = numbersBelow(seed);
      const stage = new Stage();
      stage.scheduler.load(randomPiece(random), false);
      stage.scheduler.start();
      for (let i = 0; i < 12; i++) {
        const actions = [
          () => stage.scheduler.seek(random(60) / 4),
          () => stage.scheduler.setLoop(random(2) ? [random(8), 9 + random(8)] : null),
          () => stage.scheduler.setAudible(random(2) ? () => true : (track) => track !== 0),
          () => stage.scheduler.load(randomPiece(random), false),
        ];
        actions[random(actions.length)]?.();
        stage.run(random(10) / 10, random);
      }
      stage.scheduler.halt();
      expect([0, 1, 2].flatMap((track) => stage.voices.sounding(track)), `seed ${String(seed)}`).toEqual([]);
      expect(stage.voices.heard.filter((event) => event.seconds > stage.seconds && event.kind === "on")).toEqual([]);
    }
  });
});

describe("while it plays", () => {
  const scale = pieceOf(Array.from({ length: 16 }, (_, i) => note(i, i % 2, 60 + i, i, 1)));

  function playing(piece: Piece = scale, growing = false): Stage {
    const stage = new Stage();
    stage.scheduler.load(piece, growing);
    stage.scheduler.start();
    return stage;
  }

  test("a seek drops what was planned, and goes on from there", () => {
    const stage = playing();
    stage.run(0.9);
    const at = stage.seconds;
    stage.scheduler.seek(8);
    stage.run(0.9);
    const after = stage.voices.heard.filter((event) => event.seconds > at);
    expect(after[0]).toMatchObject({ kind: "on", pitch: 68 });
    expect(after[0]?.seconds).toBeCloseTo(at + LEAD, 6);
    expect(after.some((event) => event.pitch < 68)).toBe(false);
  });

  test("a muted track falls silent at once, the other goes on", () => {
    const stage = playing();
    stage.run(0.75);
    stage.scheduler.setAudible((track) => track === 0);
    expect(stage.voices.sounding(1)).toEqual([]);
    const at = stage.seconds;
    stage.run(3);
    expect(stage.voices.heard.filter((event) => event.kind === "on" && event.track === 1 && event.seconds > at)).toEqual([]);
    expect(stage.voices.heard.filter((event) => event.kind === "on" && event.track === 0 && event.seconds > at).length).toBeGreaterThan(1);
  });

  test("a change of tempo holds from what is not handed over yet, and the place does not jump", () => {
    const stage = playing();
    stage.run(0.9);
    const before = stage.scheduler.positionBeats();
    stage.scheduler.load({ ...scale, tempos: [{ onsetBeats: 0, bpm: 240 }] }, false);
    expect(stage.scheduler.positionBeats()).toBeCloseTo(before, 6);
    stage.run(4);
    const ons = stage.voices.heard.filter((event) => event.kind === "on").map((event) => event.seconds);
    expect((ons[10] ?? 0) - (ons[9] ?? 0)).toBeCloseTo(0.25, 6);
    expect(ons.length).toBe(16);
  });

  test("a note that was deleted while it sounds stops, the others stay", () => {
    const long = pieceOf([note(0, 0, 60, 0, 8), note(1, 0, 64, 0, 8), note(2, 0, 72, 9, 1)]);
    const stage = playing(long);
    stage.run(1);
    stage.scheduler.load({ ...long, notes: long.notes.filter((one) => one.pitch !== 64) }, false);
    expect(stage.voices.sounding(0)).toEqual([60]);
  });

  test("at the end of a growing piece it waits in silence, and goes on when enough has come", () => {
    const start = pieceOf([note(0, 0, 60, 0, 1), note(1, 0, 62, 1, 8)]);
    const stage = playing(start, true);
    expect(stage.run(3)).toBe("waiting");
    expect(stage.scheduler.positionBeats()).toBe(1);
    expect(stage.voices.heard.filter((event) => event.kind === "on").map((event) => event.pitch)).toEqual([60]);
    expect(stage.voices.sounding(0)).toEqual([]);
    stage.scheduler.load(pieceOf([...start.notes, note(2, 0, 64, 2, 1), note(3, 0, 65, 6, 1)]), true);
    const at = stage.seconds;
    stage.run(1);
    const resumed = stage.voices.heard.filter((event) => event.kind === "on" && event.seconds >= at);
    expect(resumed.map((event) => event.pitch)).toEqual([62, 64]);
    expect((resumed[1]?.seconds ?? 0) - (resumed[0]?.seconds ?? 0)).toBeCloseTo(0.5, 6);
    stage.scheduler.load(pieceOf([...start.notes, note(2, 0, 64, 2, 1), note(3, 0, 65, 6, 1)]), false);
    expect(stage.run(20)).toBe("ended");
    expect(stage.voices.sounding(0)).toEqual([]);
  });

  test("a piece with fewer tracks leaves nothing of the others behind", () => {
    const stage = playing();
    stage.run(0.9);
    stage.scheduler.load(pieceOf(scale.notes.filter((one) => one.track === 0)), false);
    expect(stage.voices.sounding(1)).toEqual([]);
    expect(stage.voices.heard.filter((event) => event.track === 1 && event.seconds > stage.seconds)).toEqual([]);
  });

  test("after the page was frozen it goes on where it was, and does not play all at once", () => {
    const stage = playing();
    stage.run(1);
    stage.seconds += 5;
    const at = stage.seconds;
    stage.run(1);
    const since = stage.voices.heard.filter((event) => event.kind === "on" && event.seconds >= at).map((event) => event.seconds);
    expect(since.length).toBeLessThanOrEqual(3);
    expect(new Set(since).size).toBe(since.length);
  });
});

test("play where a longer piece was left begins a shorter one from its begin", () => {
  const stage = new Stage();
  stage.scheduler.load(pieceOf([note(0, 0, 60, 0, 40)]), false);
  stage.scheduler.seek(30);
  stage.scheduler.load(pieceOf([note(0, 0, 62, 0, 4)]), false);
  stage.scheduler.start();
  expect(stage.run(0.5)).toBe("going");
  expect(stage.scheduler.positionBeats()).toBeLessThan(2);
});
