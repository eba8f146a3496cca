import type { Piece } from "../music/piece";
import { Output } from "./output";
import type { Player, PlayerState } from "./player";
import { Scheduler } from "./scheduler";
import { soundFont } from "./soundfont";
import type { NoteSink } from "./voices";

const TICK_MS = 50;
const AHEAD_SECONDS = 0.2;
/** Browsers let the timers of a hidden page run once a second. */
const AHEAD_HIDDEN_SECONDS = 2.5;
const PREVIEW_SECONDS = 0.4;
const NO_SOUND = "This browser cannot play sound. A current Firefox, Chrome, Edge or Safari can.";
const ASLEEP = "The browser keeps this page silent until you click in it. Press play again.";

export function createPlayer(): Player {
  return new PagePlayer();
}

class PagePlayer implements Player {
  state: PlayerState = "silent";
  waiting = false;
  loadedShare = 0;
  loop: readonly [number, number] | null = null;
  volume = 0.8;
  #trouble: string | null = null;
  #output: Output | null = null;
  #programs: readonly number[] = [];
  #previewProgram = 0;
  #starting = false;
  #timer: ReturnType<typeof setInterval> | null = null;
  readonly #muted = new Set<number>();
  readonly #solo = new Set<number>();
  readonly #listeners = new Set<() => void>();
  readonly #scheduler: Scheduler;

  constructor() {
    this.#scheduler = new Scheduler(this.#relay(), () => this.#output?.context.currentTime ?? 0);
  }

  get trouble(): string | null {
    return this.#trouble ?? this.#output?.trouble ?? null;
  }

  load(piece: Piece, growing = false): void {
    this.#programs = piece.tracks.map((track) => track.program);
    this.#tellPrograms();
    this.#scheduler.load(piece, growing);
    this.#tell();
  }

  prefetch(): void {
    // A failure is told when the user wants to play, who may have started the server by then.
    soundFont((share) => this.#loaded(share)).catch(() => undefined);
  }

  async play(): Promise<void> {
    if (this.state === "playing" || this.#starting) return;
    this.#starting = true;
    const output = await this.#ready().catch(() => this.#refused());
    // Pressing stop while the sounds load takes the wish back.
    const wanted = this.#starting;
    this.#starting = false;
    if (!output || !wanted) return;
    this.#scheduler.start();
    this.#set("playing");
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    document.addEventListener("visibilitychange", this.#tick);
    this.#tick();
  }

  pause(): void {
    this.#halt(this.positionBeats());
  }

  stop(): void {
    this.#halt(0);
  }

  seek(beats: number): void {
    this.#scheduler.seek(beats);
    this.#tell();
  }

  positionBeats(): number {
    const context = this.#output?.context;
    if (!context) return this.#scheduler.positionBeats();
    // What is heard now left the page that much earlier.
    return this.#scheduler.positionBeats(context.currentTime - (context.outputLatency || 0));
  }

  setLoop(loop: readonly [number, number] | null): void {
    this.loop = loop;
    this.#scheduler.setLoop(loop);
    this.#tell();
  }

  setMuted(track: number, muted: boolean): void {
    this.#toggle(this.#muted, track, muted);
  }

  setSolo(track: number, solo: boolean): void {
    this.#toggle(this.#solo, track, solo);
  }

  isMuted(track: number): boolean {
    return this.#muted.has(track);
  }

  isSolo(track: number): boolean {
    return this.#solo.has(track);
  }

  setVolume(volume: number): void {
    this.volume = Math.min(1, Math.max(0, volume));
    this.#output?.setVolume(this.volume);
    this.#tell();
  }

  levelNow(): number {
    return this.#output?.level() ?? 0;
  }

  sound(pitch: number, program: number, velocity: number): void {
    void this.#preview(pitch, program, velocity);
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #preview(pitch: number, program: number, velocity: number): Promise<void> {
    const output = await this.#ready().catch(() => this.#refused());
    if (!output?.voices) return;
    this.#previewProgram = program;
    this.#tellPrograms();
    const channel = this.#programs.length;
    const now = output.context.currentTime;
    output.voices.noteOn(channel, pitch, velocity, now);
    output.voices.noteOff(channel, pitch, now + PREVIEW_SECONDS);
  }

  /** The output, awake and with voices; null where the browser refuses. */
  async #ready(): Promise<Output | null> {
    if (typeof AudioContext === "undefined") return this.#refused();
    // Made before anything is waited for: that is still within the user's gesture.
    this.#output ??= new Output();
    const output = this.#output;
    const awake = output.wake();
    if (this.state !== "playing") this.#set("loading");
    await output.prepare((share) => this.#loaded(share));
    this.loadedShare = 1;
    this.#trouble = (await awake) ? null : ASLEEP;
    output.setVolume(this.volume);
    this.#tellPrograms();
    if (this.state !== "playing") this.#set("stopped");
    return this.#trouble === null ? output : null;
  }

  /** Such as on a computer without a way for sound to get out. */
  #refused(): null {
    this.#trouble = NO_SOUND;
    this.#set(this.#output === null ? "silent" : "stopped");
    return null;
  }

  readonly #tick = (): void => {
    if (this.state !== "playing") return;
    const progress = this.#scheduler.advance(document.hidden ? AHEAD_HIDDEN_SECONDS : AHEAD_SECONDS);
    if (progress === "ended") this.#halt(0);
    const waiting = progress === "waiting";
    if (waiting === this.waiting) return;
    this.waiting = waiting;
    this.#tell();
  };

  #halt(atBeats: number): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    document.removeEventListener("visibilitychange", this.#tick);
    this.waiting = false;
    this.#starting = false;
    this.#scheduler.halt(atBeats);
    if (this.state === "playing") this.#set("stopped");
    else this.#tell();
  }

  #toggle(set: Set<number>, track: number, on: boolean): void {
    if (on) set.add(track);
    else set.delete(track);
    const muted = new Set(this.#muted);
    const solo = new Set(this.#solo);
    this.#scheduler.setAudible((one) => !muted.has(one) && (solo.size === 0 || solo.has(one)));
    this.#tell();
  }

  /** One channel more than there are tracks: for single notes, which a muted track must not swallow. */
  #tellPrograms(): void {
    this.#output?.voices?.setPrograms([...this.#programs, this.#previewProgram]);
  }

  /** The scheduler is there before the voices are. */
  #relay(): NoteSink {
    return {
      noteOn: (...note) => this.#output?.voices?.noteOn(...note),
      noteOff: (...note) => this.#output?.voices?.noteOff(...note),
      silence: (channel) => this.#output?.voices?.silence(channel),
    };
  }

  #loaded(share: number): void {
    this.loadedShare = share;
    this.#tell();
  }

  #set(state: PlayerState): void {
    this.state = state;
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
