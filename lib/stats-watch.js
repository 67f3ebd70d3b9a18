"use strict";
// The iterator over the statistics of a VM in this server, or of an actor's. It runs in browsers too.

const { follow } = require("./abort");
const { aborted } = require("./error");

/** @import { VmStats } from "../index" */
/** @typedef {import("./stats-watch").StatsBackend} StatsBackend */

/**
 * Reads when it is asked, at most once in an interval. So it queues nothing, and costs nothing while nobody asks.
 * @implements {AsyncIterableIterator<VmStats, undefined>}
 */
class StatsWatch {
  #backend;
  #interval;
  /** When the next reading is due, in milliseconds of `performance.now()`. @type {number | undefined} */
  #due;
  #ended = false;
  /** What `next` still has to reject with. @type {{ error: unknown } | undefined} */
  #failed;
  /** Ends the wait of `next`. */
  #wake = () => {};
  /** The calls of `next` take turns. @type {Promise<unknown>} */
  #turn = Promise.resolve();
  /** @type {(() => void) | undefined} */
  #unfollow;

  /**
   * @param {StatsBackend} backend
   * @param {number} interval
   * @param {AbortSignal | undefined} signal
   */
  constructor(backend, interval, signal) {
    this.#backend = backend;
    this.#interval = interval;
    if (signal?.aborted) this.#end({ error: aborted(signal) });
    else if (signal) this.#unfollow = follow(signal, () => this.#end({ error: aborted(signal) }));
  }

  /** @param {{ error: unknown } | undefined} failed */
  #end(failed) {
    if (this.#ended) return;
    this.#ended = true;
    this.#failed = failed;
    this.#unfollow?.();
    this.#wake();
  }

  next() {
    // Before anything else, so that no end is missed.
    const unfollow = this.#backend.onEnd((error) => this.#end(error === undefined ? undefined : { error }));
    const result = this.#turn.then(() => this.#next()).finally(unfollow);
    this.#turn = result.catch(() => {});
    return result;
  }

  /** @returns {Promise<IteratorResult<VmStats, undefined>>} */
  async #next() {
    if (!this.#ended) {
      const stats = await this.#reading().catch((error) => this.#end({ error }));
      if (stats !== undefined && !this.#ended) return { value: stats, done: false };
      this.#end(undefined);
    }
    const failed = this.#failed;
    this.#failed = undefined;
    if (failed) throw failed.error;
    return { value: undefined, done: true };
  }

  /**
   * The next reading, when it is due; undefined at the end.
   * @returns {Promise<VmStats | undefined>}
   */
  async #reading() {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    try {
      return await new Promise((resolve, reject) => {
        this.#wake = () => resolve(undefined);
        const read = () => {
          const now = performance.now();
          // Intervals that have passed without a reader are skipped.
          const late = this.#due === undefined ? 0 : (now - this.#due) % this.#interval;
          this.#due = now + this.#interval - Math.max(late, 0);
          this.#backend.read().then(resolve, reject);
        };
        const pause = this.#due === undefined ? 0 : this.#due - performance.now();
        if (pause > 0) timer = setTimeout(read, pause);
        else read();
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** @returns {Promise<IteratorResult<VmStats, undefined>>} */
  async return() {
    this.#end(undefined);
    this.#failed = undefined;
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async [Symbol.asyncDispose]() {
    await this.return();
  }
}

/**
 * @param {StatsBackend} backend
 * @param {number} interval
 * @param {AbortSignal | undefined} signal
 */
function statsWatchOf(backend, interval, signal) {
  return new StatsWatch(backend, interval, signal);
}

module.exports = { statsWatchOf };
