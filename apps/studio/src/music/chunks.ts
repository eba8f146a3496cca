/** A MIDI file that cannot be used: what is wrong, and what to do. */
export class MidiUnreadable extends Error {
  readonly todo: string;

  constructor(what: string, todo: string) {
    super(what);
    this.name = "MidiUnreadable";
    this.todo = todo;
  }
}

export const MOST_TRACKS = 64;

const HEADER_BYTES = 14;
const META = 0xff;

/** Something at a tick: `status` with the channel's bits; of a meta event `kind` is what it tells (a name, a tempo), else null. */
export interface MidiEvent {
  readonly tick: number;
  readonly status: number;
  readonly kind: number | null;
  readonly data: Uint8Array;
}

export interface MidiChunks {
  readonly ticksPerBeat: number;
  readonly tracks: readonly (readonly MidiEvent[])[];
}

/** The events of a MIDI file by track; throws MidiUnreadable. No length in it is trusted. */
export function chunksOf(bytes: Uint8Array): MidiChunks {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const name = (at: number) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < HEADER_BYTES || name(0) !== "MThd") {
    throw new MidiUnreadable("This is no MIDI file.", "Choose a file whose name ends in .mid; a recording of sound cannot be read.");
  }
  const ticksPerBeat = view.getUint16(12);
  if (ticksPerBeat === 0 || ticksPerBeat >= 0x8000) {
    throw new MidiUnreadable("This MIDI file counts frames of film, not beats.", "Export it with ticks per quarter note.");
  }
  const tracks: Uint8Array[] = [];
  for (let at = 8 + view.getUint32(4); at + 8 <= bytes.length; ) {
    const end = at + 8 + view.getUint32(at + 4);
    if (name(at) === "MTrk") {
      if (end > bytes.length) throw new MidiUnreadable("This MIDI file ends in the middle of a track.", "Copy or download it once more.");
      tracks.push(bytes.subarray(at + 8, end));
    }
    at = end;
  }
  if (tracks.length === 0 || tracks.length > MOST_TRACKS) {
    throw new MidiUnreadable(`This MIDI file has ${tracks.length} tracks; 1 to ${MOST_TRACKS} can be read.`, "Export it with fewer tracks.");
  }
  return { ticksPerBeat, tracks: tracks.map(eventsIn) };
}

/** The events of a track, those that are left out of a status taking the last one's. */
function eventsIn(track: Uint8Array): MidiEvent[] {
  const damaged = () => new MidiUnreadable("This MIDI file is damaged.", "Export it anew from the program it came from.");
  const events: MidiEvent[] = [];
  let [at, tick, running] = [0, 0, 0];
  const amount = () => {
    let value = 0;
    for (let count = 0; ; count++) {
      const byte = track[at++];
      if (byte === undefined || count > 3) throw damaged();
      value = value * 128 + (byte & 127);
      if (byte < 128) return value;
    }
  };
  while (at < track.length) {
    tick += amount();
    const next = track[at] ?? 0;
    if (next >= 0x80) at++;
    const status = next >= 0x80 ? next : running;
    if (status === 0) throw damaged();
    const kind = status === META ? (track[at++] ?? 0) : null;
    const size = sizeOf(status) ?? amount();
    if (at + size > track.length) throw damaged();
    if (status < 0xf0) running = status;
    events.push({ tick, status, kind, data: track.subarray(at, at + size) });
    at += size;
  }
  return events;
}

/** How many bytes follow a status; null where the file says it. */
function sizeOf(status: number): number | null {
  if (status === META || status === 0xf0 || status === 0xf7) return null;
  if (status > 0xf0) return 0;
  return status >= 0xc0 && status < 0xe0 ? 1 : 2;
}

/** A file of format 1. Events of a tick keep their order. */
export function fileOf({ ticksPerBeat, tracks }: MidiChunks): Uint8Array<ArrayBuffer> {
  const bytes = [...letters("MThd"), ...number(6, 4), ...number(1, 2), ...number(tracks.length, 2), ...number(ticksPerBeat, 2)];
  for (const events of tracks) {
    const track: number[] = [];
    let last = 0;
    for (const { tick, status, kind, data } of [...events].sort((one, other) => one.tick - other.tick)) {
      track.push(...amountOf(tick - last), status, ...(kind === null ? [] : [kind, ...amountOf(data.length)]), ...data);
      last = tick;
    }
    track.push(0, META, 0x2f, 0);
    bytes.push(...letters("MTrk"), ...number(track.length, 4));
    for (const byte of track) bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

function letters(text: string): number[] {
  return Array.from(text, (letter) => letter.charCodeAt(0));
}

function number(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, index) => (value >>> (8 * (bytes - 1 - index))) & 255);
}

/** Seven bits a byte, all but the last one marked; what is more than four bytes hold is cut to that. */
function amountOf(value: number): number[] {
  const rest = Math.min(value, 2 ** 28 - 1);
  const bytes = [rest & 127];
  for (let above = rest >>> 7; above > 0; above >>>= 7) bytes.unshift((above & 127) | 128);
  return bytes;
}
