"use strict";

/** The median of some numbers; for an even count, the mean of the two in the middle. */
function median(numbers) {
  const sorted = numbers.sort();
  return sorted[Math.floor(sorted.length / 2)];
}

module.exports = { median };
