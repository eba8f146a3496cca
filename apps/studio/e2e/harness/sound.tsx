import { createRoot } from "react-dom/client";
import { DRUMS, type Note, type Piece } from "../../src/music/piece";
import { renderToWav } from "../../src/sound/render-wav";
import { player } from "../../src/sound/the-player";
import { TrackList } from "../../src/sound/track-list";
import { Transport } from "../../src/sound/transport";

const BARS = 8;

function note(id: number, track: number, pitch: number, onsetBeats: number, durationBeats: number): Note {
  return { id, track, pitch, velocity: 100, onsetBeats, durationBeats };
}

const beats = Array.from({ length: BARS * 4 }, (_, beat) => beat);
const piece: Piece = {
  tracks: [{ name: "Melody", program: 73 }, { name: "Beat", program: DRUMS }],
  notes: beats.flatMap((beat) => [note(2 * beat, 0, 60 + (beat % 8), beat, 0.95), note(2 * beat + 1, 1, 38, beat, 0.25)]),
  tempos: [{ onsetBeats: 0, bpm: 120 }],
  metres: [{ onsetBeats: 0, beatsPerBar: 4, text: "4/4" }],
};
player.load(piece);
Object.assign(window, { player, piece, renderToWav });

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <main>
      <Transport player={player} piece={piece} barBeats={beats.filter((beat) => beat % 4 === 0).concat(BARS * 4)} selection={{ firstBar: 2, lastBar: 3, tracks: null }} />
      <TrackList player={player} piece={piece} />
    </main>,
  );
}
