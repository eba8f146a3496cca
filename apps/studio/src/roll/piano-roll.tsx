import { Maximize2, ZoomIn, ZoomOut } from "lucide-react";
import { useEffect, useId, useImperativeHandle, useMemo, useRef, useState } from "react";
import { Button } from "react-aria-components";
import { Gestures } from "./gestures";
import { Keyboard } from "./keyboard";
import type { RollProps } from "./roll";
import { type Scene, scoreOf } from "./scene";
import { Surface } from "./surface";
import "./roll.css";

const NONE: ReadonlySet<number> = new Set();
const ZOOM_STEP = 1.4;

const HELP =
  "Left and right arrows go from note to note, up and down to higher and lower notes. Enter chooses a note, Shift with Enter one more. " +
  "Shift with arrows moves the chosen notes, Alt with up and down changes their length, Delete removes them. " +
  "Alt with left and right changes the chosen bars. With the draw tool the arrows go to any place and Enter adds a note. Plus and minus zoom, Escape clears.";

interface Works {
  readonly surface: Surface;
  readonly gestures: Gestures;
  readonly keyboard: Keyboard;
}

/** The music as bars over time, to be seen, chosen and changed. */
export function Roll(props: RollProps) {
  const below = useRef<HTMLCanvasElement>(null);
  const above = useRef<HTMLCanvasElement>(null);
  const touched = useRef<HTMLDivElement>(null);
  const probe = useRef<HTMLSpanElement>(null);
  const works = useRef<Works | null>(null);
  const [said, setSaid] = useState("");
  const helpId = useId();
  const scene = useScene(props);
  const latest = useRef({ props, scene });
  latest.current = { props, scene };

  useEffect(() => {
    if (!below.current || !above.current || !touched.current || !probe.current) return;
    const surface = new Surface({
      below: below.current,
      above: above.current,
      probe: probe.current,
      scene: latest.current.scene,
      position: () => latest.current.props.positionBeats(),
      told: (frame) => latest.current.props.onFrame?.(frame),
    });
    const stage = { surface, props: () => latest.current.props };
    const made = { surface, gestures: new Gestures(touched.current, stage), keyboard: new Keyboard(stage, setSaid) };
    works.current = made;
    return () => {
      made.surface.end();
      made.gestures.end();
      works.current = null;
    };
  }, []);

  useEffect(() => {
    works.current?.surface.show(scene);
    works.current?.keyboard.refresh();
  }, [scene]);

  useImperativeHandle(props.ref, () => ({
    zoom: (factor) => zoomBy(works.current, factor),
    fit: () => works.current?.surface.fit(),
    reveal: (beats) => works.current?.surface.revealBeats(beats),
    placeOf: (id) => {
      const note = works.current?.surface.scene.index.get(id);
      return note ? (works.current?.surface.pageRect(note) ?? null) : null;
    },
  }), []);

  const press = (event: React.KeyboardEvent) => {
    if (works.current?.keyboard.press(event)) event.preventDefault();
  };

  // Who clicks needs no cursor.
  const focus = (event: React.FocusEvent) => {
    if (event.currentTarget.matches(":focus-visible")) works.current?.keyboard.showCursor();
  };

  return (
    <div className="roll">
      <span ref={probe} className="roll-theme" aria-hidden="true" />
      <canvas ref={below} className="roll-canvas" aria-hidden="true" />
      <div
        ref={touched} className="roll-keyboard" role="application" aria-roledescription="piano roll" aria-label={props.label} aria-describedby={helpId} tabIndex={0}
        onKeyDown={press} onFocus={focus} onBlur={() => works.current?.keyboard.hideCursor()}
      >
        <canvas ref={above} className="roll-canvas roll-above" aria-hidden="true" />
        <div className="roll-edge roll-ruler" aria-hidden="true" />
        <div className="roll-edge roll-keys" aria-hidden="true" />
      </div>
      <p id={helpId} className="roll-unseen">{HELP}</p>
      <p className="roll-unseen" aria-live="polite">{said}</p>
      <div className="roll-zoom" role="group" aria-label="Zoom">
        <Button aria-label="Zoom out" onPress={() => zoomBy(works.current, 1 / ZOOM_STEP)}><ZoomOut aria-hidden="true" /></Button>
        <Button aria-label="Zoom in" onPress={() => zoomBy(works.current, ZOOM_STEP)}><ZoomIn aria-hidden="true" /></Button>
        <Button aria-label="Show all" onPress={() => works.current?.surface.fit()}><Maximize2 aria-hidden="true" /></Button>
      </div>
    </div>
  );
}

function zoomBy(works: Works | null, factor: number): void {
  works?.surface.zoomAt(factor, works.surface.view.width / 2);
}

/** The score is worked out anew only with the piece, the scene with what is drawn of it. */
function useScene(props: RollProps): Scene {
  const { piece, expectedBeats = 0, selection, chosen, heat, attention, newBeats, playing, tool, drawTrack, faint = NONE } = props;
  const score = useMemo(() => scoreOf(piece, expectedBeats), [piece, expectedBeats]);
  return useMemo(
    () => ({ ...score, piece, expectedBeats, selection, chosen, heat, attention, newBeats, playing, tool, drawTrack, faint }),
    [score, piece, expectedBeats, selection, chosen, heat, attention, newBeats, playing, tool, drawTrack, faint],
  );
}
