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

/**
 * The header and the track chunks of a MIDI file, and nothing else: the reader trusts every length, so one that lies
 * would have it set aside gigabytes. Throws MidiUnreadable.
 */
export function tidied(bytes: Uint8Array): ArrayBuffer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const name = (at: number) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < HEADER_BYTES || name(0) !== "MThd") {
    throw new MidiUnreadable("This is no MIDI file.", "Choose a file whose name ends in .mid; a recording of sound cannot be read.");
  }
  const division = view.getUint16(12);
  if (division === 0 || division >= 0x8000) {
    throw new MidiUnreadable("This MIDI file counts frames of film, not beats.", "Export it with ticks per quarter note.");
  }
  const tracks: Uint8Array[] = [];
  for (let at = 8 + view.getUint32(4); at + 8 <= bytes.length; ) {
    const end = at + 8 + view.getUint32(at + 4);
    if (name(at) === "MTrk") {
      if (end > bytes.length) throw new MidiUnreadable("This MIDI file ends in the middle of a track.", "Copy or download it once more.");
      tracks.push(bytes.subarray(at, end));
    }
    at = end;
  }
  if (tracks.length === 0 || tracks.length > MOST_TRACKS) {
    throw new MidiUnreadable(`This MIDI file has ${tracks.length} tracks; 1 to ${MOST_TRACKS} can be read.`, "Export it with fewer tracks.");
  }
  tracks.forEach(checkEvents);
  return joined(view.getUint16(8), division, tracks);
}

function joined(format: number, division: number, tracks: readonly Uint8Array[]): ArrayBuffer {
  const whole = new Uint8Array(tracks.reduce((size, track) => size + track.length, HEADER_BYTES));
  const view = new DataView(whole.buffer);
  whole.set([0x4d, 0x54, 0x68, 0x64, 0, 0, 0, 6]);
  view.setUint16(8, format);
  view.setUint16(10, tracks.length);
  view.setUint16(12, division);
  let at = HEADER_BYTES;
  for (const track of tracks) {
    whole.set(track, at);
    at += track.length;
  }
  return whole.buffer;
}

/** That each event ends within its track. */
function checkEvents(track: Uint8Array): void {
  const damaged = () => new MidiUnreadable("This MIDI file is damaged.", "Export it anew from the program it came from.");
  let at = 8;
  let running = 0;
  const length = () => {
    let value = 0;
    for (let count = 0; ; count++) {
      const byte = track[at++];
      if (byte === undefined || count > 3) throw damaged();
      value = value * 128 + (byte & 127);
      if (byte < 128) return value;
    }
  };
  while (at < track.length) {
    length(); // the time since the last event
    const status = track[at] ?? 0;
    if (status >= 0x80) at++;
    else if (running === 0) throw damaged();
    if (status === 0xff) at++;
    if (status === 0xff || status === 0xf0 || status === 0xf7) {
      const size = length();
      at += size;
    } else if (status < 0xf0) {
      if (status >= 0x80) running = status;
      at += running >> 4 === 0xc || running >> 4 === 0xd ? 1 : 2;
    }
    if (at > track.length) throw damaged();
  }
}
