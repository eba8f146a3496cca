/** Okabe and Ito's colours, told apart by colour-blind eyes, as on the server's piano rolls; their yellow is left out as it fades on white. */
export const TRACK_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4FA3", "#8C564B"] as const;

export function trackColour(track: number): string {
  return TRACK_COLOURS[track % TRACK_COLOURS.length] ?? TRACK_COLOURS[0];
}
