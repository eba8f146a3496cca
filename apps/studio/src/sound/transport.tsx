import { Pause, Play, Repeat, SkipBack, Volume2 } from "lucide-react";
import { useCallback, useEffect, useMemo } from "react";
import { Button, Slider, SliderThumb, SliderTrack, ToggleButton } from "react-aria-components";
import { endBeats, type Piece, type Selection } from "../music/piece";
import { LevelMeter } from "./level-meter";
import { clock, placeText } from "./place";
import type { Player } from "./player";
import { TempoMap } from "./tempo";
import "./transport.css";
import { useFrames } from "./use-frames";
import { usePlayer } from "./use-player";

export interface TransportProps {
  readonly player: Player;
  readonly piece: Piece;
  /** Where each bar begins, in beats, in order; the end of the last bar may follow. */
  readonly barBeats: readonly number[];
  /** What the loop button repeats; without one, the whole piece. */
  readonly selection?: Selection | null;
}

export function Transport({ player, piece, barBeats, selection = null }: TransportProps) {
  usePlayer(player);
  const playing = player.state === "playing";
  const tempo = useMemo(() => new TempoMap(piece.tempos), [piece.tempos]);
  const end = useMemo(() => endBeats(piece), [piece]);
  const [from, to] = looped(selection, barBeats, end);
  const looping = player.loop !== null;
  useEffect(() => {
    // The loop follows the selection.
    if (looping) player.setLoop([from, to]);
  }, [player, looping, from, to]);
  return (
    <section className="transport" aria-label="Player">
      <div className="transport-buttons">
        <Button className="transport-button transport-play" isDisabled={player.state === "loading" || end === 0} onPress={() => (playing ? player.pause() : void player.play())}>
          {playing ? <Pause aria-hidden /> : <Play aria-hidden />}
          <span>{playing ? "Pause" : "Play"}</span>
        </Button>
        <Button className="transport-button" aria-label="Stop and go to the begin" onPress={() => player.stop()}>
          <SkipBack aria-hidden />
        </Button>
        <ToggleButton className="transport-button" aria-label={selection ? "Loop the selected bars" : "Loop the whole piece"} isSelected={looping} onChange={(on) => player.setLoop(on ? [from, to] : null)}>
          <Repeat aria-hidden />
        </ToggleButton>
      </div>
      <Position player={player} barBeats={barBeats} tempo={tempo} end={end} playing={playing} />
      <Slider className="transport-volume" aria-label="Volume" minValue={0} maxValue={1} step={0.05} value={player.volume} onChange={(volume) => player.setVolume(volume)} >
        <Volume2 aria-hidden />
        <Track />
      </Slider>
      <LevelMeter player={player} active={playing} />
      <p className="transport-said" role="status">{said(player)}</p>
    </section>
  );
}

interface PositionProps {
  readonly player: Player;
  readonly barBeats: readonly number[];
  readonly tempo: TempoMap;
  readonly end: number;
  readonly playing: boolean;
}

function Position({ player, barBeats, tempo, end, playing }: PositionProps) {
  // Quarters of a beat: enough for the eye, and not sixty drawings a second.
  const read = useCallback(() => Math.floor(player.positionBeats() * 4) / 4, [player]);
  const beats = useFrames(read, playing);
  const text = placeText(beats, barBeats, tempo);
  return (
    <Slider className="transport-position" aria-label="Position" minValue={0} maxValue={Math.max(end, 1)} step={0.25} value={Math.min(beats, Math.max(end, 1))} onChange={(to) => player.seek(to)} isDisabled={end === 0}>
      <Track valueText={text} />
      <span className="transport-place">{text} <span className="transport-end">of {clock(tempo.secondsAt(end))}</span></span>
    </Slider>
  );
}

function Track({ valueText }: { readonly valueText?: string }) {
  return (
    <SliderTrack className="transport-track">
      {({ state }) => (
        <>
          <span className="transport-fill" style={{ width: `${String(state.getThumbPercent(0) * 100)}%` }} />
          <SliderThumb className="transport-thumb" {...(valueText === undefined ? {} : { "aria-valuetext": valueText })} />
        </>
      )}
    </SliderTrack>
  );
}

function looped(selection: Selection | null, barBeats: readonly number[], end: number): readonly [number, number] {
  const wholeEnd = barBeats.find((start) => start >= end) ?? end;
  if (!selection) return [0, wholeEnd];
  return [barBeats[selection.firstBar - 1] ?? 0, barBeats[selection.lastBar] ?? wholeEnd];
}

function said(player: Player): string {
  if (player.state === "loading") return `Loading the instruments: ${String(Math.round(player.loadedShare * 100))} %`;
  if (player.trouble !== null) return player.trouble;
  return player.waiting ? "Waiting for notes" : "";
}
