"use strict";
// Bytes that wait for their reader. Small pieces are joined, so that they take little more memory than their bytes.

/** A piece of at least this size is kept as it is. */
const LARGE = 4096;
const BLOCK = 16 * 1024;
const NONE = Buffer.alloc(0);

class ByteQueue {
  /** @type {Uint8Array[]} */
  #blocks = [];
  /** A block with free room, and how much of it is used. */
  #open = NONE;
  #used = 0;
  bytes = 0;

  /** @param {Uint8Array} data */
  add(data) {
    this.bytes += data.byteLength;
    if (data.byteLength >= LARGE) {
      this.#close();
      this.#blocks.push(data);
      return;
    }
    if (data.byteLength > this.#open.byteLength - this.#used) {
      const size = Math.min(BLOCK, Math.max(2 * this.#open.byteLength, data.byteLength, 128));
      this.#close();
      this.#open = Buffer.allocUnsafeSlow(size);
    }
    this.#open.set(data, this.#used);
    this.#used += data.byteLength;
  }

  /** The first bytes, which are no longer here; undefined if there are none. */
  take() {
    if (this.#blocks.length === 0) this.#close();
    const first = this.#blocks.shift();
    this.bytes -= first?.byteLength ?? 0;
    return first;
  }

  #close() {
    if (this.#used > 0) this.#blocks.push(this.#open.subarray(0, this.#used));
    this.#open = NONE;
    this.#used = 0;
  }
}

exports.ByteQueue = ByteQueue;
