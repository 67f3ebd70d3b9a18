/** The value below which `part` of the samples are. */
export function quantile(samples, part) {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}

export function median(samples) {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Combines all rounds of one contender: the median of the rounds' medians, and the p99 of all samples. */
export function summary(rounds) {
  const samples = rounds.flatMap((round) => round.samples);
  const extra = {};
  for (const name of Object.keys(rounds[0].extra ?? {})) extra[name] = median(rounds.map((round) => round.extra[name]));
  const medians = rounds.map((round) => median(round.samples));
  return { median: median(medians), p99: quantile(samples, 0.99), samples: samples.length, rounds: medians, extra };
}

/** The ratio for each round, because a disturbance of the machine affects both halves of a round; then the median. */
export function ratio(ours, theirs) {
  return median(ours.rounds.map((value, round) => value / theirs.rounds[round]));
}

/** Combines the measurements of several processes in one round. */
export function together(results) {
  const extra = {};
  for (const name of Object.keys(results[0].extra ?? {}))
    extra[name] = median(results.map((result) => result.extra[name]));
  return { samples: results.flatMap((result) => result.samples), extra };
}
