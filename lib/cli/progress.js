"use strict";
// A line with what has been copied, and a bar when the total is known.

/** @typedef {import("./copy").Progress} Amount */

const WIDTH = 30;
const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** @param {number} bytes */
function size(bytes) {
  let [amount, unit] = [bytes, 0];
  for (; amount >= 1000 && unit < UNITS.length - 1; unit++) amount /= 1000;
  return `${unit === 0 ? amount : amount.toFixed(1)} ${UNITS[unit]}`;
}

class Progress {
  #stream;
  #shown = false;
  /** @type {Amount | undefined} */
  #total;
  /** @type {Amount} */
  #so = { files: 0, bytes: 0 };

  /** @param {NodeJS.WriteStream} stream Nothing is shown where it is no terminal. */
  constructor(stream) {
    this.#stream = stream;
  }

  /** @param {{ total: Amount } | { progress: Amount }} message */
  show(message) {
    if ("total" in message) this.#total = message.total;
    else this.#so = message.progress;
    if (!this.#stream.isTTY) return;
    this.#stream.write(`\r\x1b[K${this.#line()}`);
    this.#shown = true;
  }

  #line() {
    const { files, bytes } = this.#so;
    if (this.#total === undefined) return `${files} files, ${size(bytes)}`;
    // What is copied may change meanwhile.
    const part = Math.min(1, bytes / Math.max(1, this.#total.bytes));
    const full = Math.floor(part * WIDTH);
    const bar = "#".repeat(full) + ".".repeat(WIDTH - full);
    return `[${bar}] ${Math.floor(part * 100)} %  ${files} of ${this.#total.files} files, ${size(bytes)} of ${size(this.#total.bytes)}`;
  }

  clear() {
    if (this.#shown) this.#stream.write("\r\x1b[K");
  }
}

module.exports = { Progress };
