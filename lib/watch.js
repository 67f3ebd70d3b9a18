"use strict";
// The iterators over what happens to watched files, of a VM in this server or of an actor's. It runs in browsers too.

const { follow } = require("./abort");
const { aborted } = require("./error");

/** @import { FileWatcher, WatchEvent } from "../index" */
/** @typedef {import("./watch").WatchBackend} WatchBackend */
/** @typedef {import("./watch").OpenedWatch} OpenedWatch */

/**
 * Ends the watch of an iterator that was dropped before its end.
 * @type {FinalizationRegistry<{ backend: WatchBackend, opened: OpenedWatch }>}
 */
const dropped = new FinalizationRegistry(({ backend, opened }) => backend.close(opened));

/** @implements {FileWatcher} */
class Watcher {
  #backend;
  /** @type {Promise<OpenedWatch>} */
  #opened;
  /** @type {WatchEvent[]} */
  #taken = [];
  #at = 0;
  #ended = false;
  /** What `next` still has to reject with. */
  #failed = /** @type {{ error: unknown } | undefined} */ (undefined);
  /** Ends the call that begins the watch. */
  #stop = new AbortController();
  /** Ends the wait of `next`. */
  #wake = () => {};
  /** The calls of `next` take turns. */
  #turn = /** @type {Promise<unknown>} */ (Promise.resolve());
  /** @type {(() => void) | undefined} */
  #unfollow;
  /** @type {Promise<void>} */
  ready;

  /**
   * @param {WatchBackend} backend
   * @param {AbortSignal | undefined} signal
   */
  constructor(backend, signal) {
    this.#backend = backend;
    if (signal?.aborted) {
      this.#opened = Promise.reject(aborted(signal));
      this.#close({ error: aborted(signal) });
    } else {
      if (signal) this.#unfollow = follow(signal, () => this.#close({ error: aborted(signal) }));
      this.#opened = this.#open();
    }
    this.ready = this.#opened.then(
      () => {},
      (error) => {
        throw signal?.aborted ? aborted(signal) : error;
      },
    );
    // The loop gets the error, too.
    this.ready.catch(() => {});
  }

  async #open() {
    const backend = this.#backend;
    try {
      const opened = await backend.open(this.#stop.signal);
      if (this.#ended) backend.close(opened);
      else dropped.register(this, { backend, opened }, this);
      return opened;
    } catch (error) {
      this.#close({ error });
      throw error;
    }
  }

  /**
   * Ends the watch, once.
   * @param {{ error: unknown } | undefined} failed
   */
  #close(failed) {
    if (this.#ended) return;
    this.#ended = true;
    this.#failed = failed;
    this.#unfollow?.();
    dropped.unregister(this);
    this.#taken = [];
    this.#stop.abort();
    const backend = this.#backend;
    this.#opened?.then(
      (opened) => backend.close(opened),
      () => {},
    );
    this.#wake();
  }

  next() {
    const result = this.#turn.then(() => this.#next());
    this.#turn = result.catch(() => {});
    return result;
  }

  /** @returns {Promise<IteratorResult<WatchEvent, undefined>>} */
  async #next() {
    while (!this.#ended) {
      const event = this.#taken[this.#at++];
      if (event !== undefined) return { value: event, done: false };
      try {
        const taken = await this.#take();
        if (this.#ended) break;
        if (taken === undefined) this.#close(undefined);
        else [this.#taken, this.#at] = [taken, 0];
      } catch (error) {
        this.#close({ error });
      }
    }
    const failed = this.#failed;
    this.#failed = undefined;
    if (failed) throw failed.error;
    return { value: undefined, done: true };
  }

  /**
   * The next events; undefined at the end. Once the watch has ended, it waits for nothing.
   * @returns {Promise<WatchEvent[] | undefined>}
   */
  #take() {
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      this.#opened.then((opened) => (this.#ended ? undefined : this.#backend.take(opened))).then(resolve, reject);
    });
  }

  /** @returns {Promise<IteratorResult<WatchEvent, undefined>>} */
  async return() {
    this.#close(undefined);
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
 * @param {WatchBackend} backend
 * @param {AbortSignal | undefined} signal
 * @returns {FileWatcher}
 */
function watcherOf(backend, signal) {
  return new Watcher(backend, signal);
}

module.exports = { watcherOf };
