"use strict";

/** The middle one of some numbers; of an even count, the mean of the two in the middle. */
function median(numbers) {
  const sorted = numbers.sort();
  return sorted[Math.floor(sorted.length / 2)];
}

module.exports = { median };
