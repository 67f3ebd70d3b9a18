// Functions that the metrics share: they repeat, measure time, and refuse wrong results.
import { deepStrictEqual } from "node:assert";

/** A wrong result does not count, however fast it was. */
export const check = deepStrictEqual;

/** Calls `once` up to `count` times, one after the other, for at most about `seconds`; returns the results. */
export async function each(count, once, { seconds = Infinity } = {}) {
  const results = [];
  const end = performance.now() + seconds * 1000;
  while (results.length < count && (results.length < 3 || performance.now() < end)) results.push(await once());
  return results;
}

/** The duration in milliseconds. */
export async function timed(once) {
  const begun = performance.now();
  await once();
  return performance.now() - begun;
}

/**
 * Calls `once` up to `count` times, `width` at a time, for at most about `seconds`; returns how many calls ended in a
 * second.
 */
export async function parallel(count, width, once, { seconds = Infinity } = {}) {
  let begun = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  const lane = async () => {
    while (begun < count && performance.now() < end) {
      begun++;
      await once();
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  return begun / ((performance.now() - start) / 1000);
}
