/** What the votes say, and what they do not. */

export interface ResultTold {
  readonly models: readonly string[];
  /** Of their checkpoints: a name may have been another model's before. */
  readonly sha256: readonly string[];
  readonly wins_first_model: number;
  readonly wins_second_model: number;
  readonly neither: number;
  /** Of the votes that chose one, the part that the first model won; null without any. */
  readonly share: number | null;
  readonly low: number | null;
  readonly high: number | null;
}

const percent = (share: number) => `${Math.round(100 * share)} %`;
const votes = (count: number) => (count === 1 ? "1 vote" : `${count} votes`);

export function nameOf(result: ResultTold, which: 0 | 1): string {
  return result.models[which] ?? "?";
}

export function votesOf(result: ResultTold): number {
  return result.wins_first_model + result.wins_second_model + result.neither;
}

/** "57 % (25 % to 84 %)". */
export function shareText({ share, low, high }: ResultTold): string {
  if (share === null) return "not known yet";
  return low === null || high === null ? percent(share) : `${percent(share)} (${percent(low)} to ${percent(high)})`;
}

/** What may be concluded, in one sentence. */
export function conclusion(result: ResultTold): string {
  const { share, low, high, neither } = result;
  const decided = result.wins_first_model + result.wins_second_model;
  const first = nameOf(result, 0);
  const second = nameOf(result, 1);
  if (share === null || low === null || high === null || decided === 0) {
    return neither === 0 ? "There are no votes yet." : `${votes(neither)} found no difference, none chose one of the two: nothing can be said yet.`;
  }
  if (low > 0.5) return `With ${votes(decided)}, ${first} is preferred to ${second}: the whole interval lies above one half.`;
  if (high < 0.5) return `With ${votes(decided)}, ${second} is preferred to ${first}: the whole interval lies below one half.`;
  if (decided >= 30) return `With ${votes(decided)} neither is clearly preferred: the interval contains one half.`;
  return `With ${votes(decided)} nothing can be said yet: the interval contains one half.`;
}
