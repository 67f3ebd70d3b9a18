"use strict";
// `for await` over the stream of a handle. Node.js's own iterator emits an event and takes a turn of its queue for each
// chunk, which costs several times what the chunk does; here a loop that waits gets the chunk itself.

const { finished } = require("node:stream");

/** @import { Readable } from "node:stream" */

/** A loop over a stream. */
class Loop {
  #readable;
  #take;
  /** @type {((chunk: Uint8Array | undefined) => void) | undefined} */
  #resolve;

  /**
   * `take` returns the stream's next chunk, and null if none is there.
   * @param {Readable} readable
   * @param {() => Uint8Array | null} take
   */
  constructor(readable, take) {
    this.#readable = readable;
    this.#take = take;
  }

  /**
   * Wakes the loop, if it waits, with its next chunk; without one it looks for one itself. Returns whether it waited.
   * @param {Uint8Array} [chunk]
   */
  wake(chunk) {
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.(chunk);
    return resolve !== undefined;
  }

  /** The same chunks, errors and end as those of Node.js's own iterator. To leave the loop destroys the stream. */
  async *chunks() {
    const readable = this.#readable;
    /** @type {Error | null | undefined} Null: the stream has ended. */
    let ended;
    const look = () => void this.wake();
    readable.on("readable", look);
    const forget = finished(readable, { writable: false }, (error) => {
      ended = error ?? null;
      look();
    });
    /** @param {(chunk: Uint8Array | undefined) => void} resolve */
    const wait = (resolve) => {
      this.#resolve = resolve;
    };
    try {
      for (;;) {
        const chunk = this.#take() ?? (ended === undefined ? await new Promise(wait) : undefined);
        if (chunk !== undefined) yield chunk;
        else if (ended) throw ended;
        else if (ended === null) return;
      }
    } finally {
      readable.off("readable", look);
      forget();
      readable.destroy();
    }
  }
}

exports.Loop = Loop;
