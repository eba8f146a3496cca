/** Okabe and Ito's colours, told apart by colour-blind eyes, as the server's pictures have them; lighter kin of them on dark paper. */
const ON_LIGHT = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4FA3", "#8C564B"] as const;
const ON_DARK = ["#3E9FDE", "#F0803C", "#22BD8D", "#DD97BD", "#F2B33D", "#8FD0F5", "#AE8CD6", "#C4958A"] as const;

export function trackColour(track: number, dark: boolean): string {
  return (dark ? ON_DARK : ON_LIGHT)[track % ON_LIGHT.length] ?? ON_LIGHT[0];
}
