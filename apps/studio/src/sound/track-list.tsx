import { Headphones, VolumeX } from "lucide-react";
import { ToggleButton } from "react-aria-components";
import { instrumentName } from "../music/instruments";
import type { Piece, Track } from "../music/piece";
import { trackColour } from "../roll/track-colours";
import type { Player } from "./player";
import "./track-list.css";
import { usePlayer } from "./use-player";

export interface TrackListProps {
  readonly player: Player;
  readonly piece: Piece;
}

/** The tracks of a piece, each with what it plays on, to be muted or heard alone. */
export function TrackList({ player, piece }: TrackListProps) {
  usePlayer(player);
  return (
    <ul className="track-list" aria-label="Tracks">
      {piece.tracks.map((track, number) => <Row key={number} player={player} track={track} number={number} />)}
    </ul>
  );
}

function Row({ player, track, number }: { readonly player: Player; readonly track: Track; readonly number: number }) {
  const instrument = instrumentName(track.program);
  const name = track.name || `Track ${String(number + 1)}`;
  return (
    <li className="track-row">
      <span className="track-colour" style={{ background: trackColour(number, false) }} aria-hidden />
      <span className="track-names">
        <span className="track-name">{name}</span>
        {name !== instrument && <span className="track-instrument">{instrument}</span>}
      </span>
      <ToggleButton className="track-toggle" aria-label={`Mute ${name}`} isSelected={player.isMuted(number)} onChange={(on) => player.setMuted(number, on)}>
        <VolumeX aria-hidden /><span>Mute</span>
      </ToggleButton>
      <ToggleButton className="track-toggle" aria-label={`Solo ${name}`} isSelected={player.isSolo(number)} onChange={(on) => player.setSolo(number, on)}>
        <Headphones aria-hidden /><span>Solo</span>
      </ToggleButton>
    </li>
  );
}
