/** From nats (what the server tells) to colours and to words that need no mathematics. */

export interface SurpriseScale {
  /** Nats that are drawn calm, and those that are drawn hot; what lies beyond is drawn like the end. */
  readonly lowNats: number;
  readonly highNats: number;
}

/** The value below which the share of the values lies, between two of them in proportion. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = Math.min(1, Math.max(0, share)) * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? 0;
  const above = sorted[Math.ceil(place)] ?? below;
  return below + (above - below) * (place - Math.floor(place));
}

/** By the 5th and 95th percentile: a single odd note would leave all others in one colour. */
export function surpriseScale(nats: readonly number[]): SurpriseScale {
  const told = nats.filter(Number.isFinite);
  return { lowNats: percentile(told, 0.05), highNats: percentile(told, 0.95) };
}

/** 0 (as expected) to 1 (surprising). Where all notes are alike none is surprising. */
export function heatOf(nats: number, scale: SurpriseScale): number {
  const width = scale.highNats - scale.lowNats;
  if (width <= 0) return 0;
  return Math.min(1, Math.max(0, (nats - scale.lowNats) / width));
}

const WHOLE = new Intl.NumberFormat("en", { maximumSignificantDigits: 2, maximumFractionDigits: 0 });
const FINE = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const BEYOND = 1e9;

/** "1 in 6" for nats; what is nearly certain gets a fraction ("1 in 1.2"), and what is hardly possible no row of zeros. */
export function chanceText(nats: number): string {
  const oneIn = Math.exp(Math.max(0, nats));
  if (oneIn >= BEYOND) return "less than 1 in a billion";
  if (oneIn >= 1e6) return `1 in ${FINE.format(oneIn / 1e6)} million`;
  return `1 in ${oneIn < 9.5 ? FINE.format(oneIn) : WHOLE.format(oneIn)}`;
}

/** A probability for reading: "37 %", "0.4 %", "under 0.1 %". */
export function percentText(probability: number): string {
  const percent = 100 * probability;
  if (percent > 0 && percent < 0.1) return "under 0.1 %";
  if (percent < 1) return `${FINE.format(percent)} %`;
  return `${Math.min(100, Math.round(percent))} %`;
}
