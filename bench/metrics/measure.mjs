// What the metrics share: repeating, timing, and refusing wrong results.
import { deepStrictEqual } from "node:assert";

/** A wrong result counts for nothing, however fast it came. */
export const check = deepStrictEqual;

/** Calls `once` up to `count` times, one after the other, for about `seconds` at most; what it gave. */
export async function each(count, once, { seconds = Infinity } = {}) {
  const results = [];
  const end = performance.now() + seconds * 1000;
  while (results.length < count && (results.length < 3 || performance.now() < end)) results.push(await once());
  return results;
}

/** Milliseconds. */
export async function timed(once) {
  const begun = performance.now();
  await once();
  return performance.now() - begun;
}

/** Calls `once` up to `count` times, `width` at a time, for about `seconds` at most; how many a second. */
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
