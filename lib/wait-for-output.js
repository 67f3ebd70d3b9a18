"use strict";
// Waits until a process or shell prints something. The wait searches what is kept of its output, and then what events bring.

const timers = require("node:timers");

const { follow } = require("./abort");
const { AgentVmError, aborted, disposed } = require("./error");
const { OutputSearch } = require("./output-search");
const { printable } = require("./printable");

/** @import { OutputMatch } from "../index" */
/** @import { Calls } from "./calls" */
/** @import { Followed } from "./followed" */
/** @import { StreamName } from "./handles/output" */

/** The maximum number of such waits of one VM. Each may hold 256 KiB. */
const MOST_WAITS = 1024;
/** How many bytes one wait searches in a turn of the event loop. */
const TURN_BYTES = 256 * 1024;
/** How many bytes may wait to be searched before the program is paused. */
const QUEUE_BYTES = 1024 * 1024;

/**
 * What is waited for, and until when.
 * @typedef {object} Wait
 * @property {string} name Names the process or shell in messages.
 * @property {readonly StreamName[]} streams
 * @property {string | RegExp} pattern
 * @property {number} after
 * @property {number} timeout In milliseconds; 0 means none.
 * @property {AbortSignal | undefined} signal
 */

class OutputWaits {
  #calls;
  #count = 0;

  /** @param {Calls} calls */
  constructor(calls) {
    this.#calls = calls;
  }

  /**
   * Resolves to the first match.
   * @param {Followed} followed
   * @param {Wait} wait
   * @returns {Promise<OutputMatch>}
   */
  async wait(followed, wait) {
    if (wait.signal?.aborted) throw aborted(wait.signal);
    if (this.#count >= MOST_WAITS) {
      throw new AgentVmError(
        "LIMIT_EXCEEDED",
        `${MOST_WAITS} calls wait for output of this VM already; await some of them first`,
      );
    }
    this.#count++;
    try {
      return await new OutputWait(this.#calls, followed, wait).outcome;
    } finally {
      this.#count--;
    }
  }
}

class OutputWait {
  /** @type {Promise<OutputMatch>} */
  outcome;
  #calls;
  #followed;
  #wait;
  #search;
  /** @type {(match: OutputMatch) => void} */
  #resolve = () => {};
  /** @type {(error: Error) => void} */
  #reject = () => {};
  /** @type {(() => void)[]} */
  #cancels = [];
  #isOver = false;
  /** What is still to be searched. @type {{ stream: StreamName, data: Uint8Array, seq: number }[]} */
  #queue = [];
  #queued = 0;
  #isHolding = false;
  /** @type {NodeJS.Immediate | undefined} */
  #turn;
  /** How far the output is searched or queued. */
  #position;
  #truncated = 0;
  /** The streams that have not ended. @type {Set<StreamName>} */
  #open;

  /**
   * @param {Calls} calls
   * @param {Followed} followed
   * @param {Wait} wait
   */
  constructor(calls, followed, wait) {
    this.#calls = calls;
    this.#followed = followed;
    this.#wait = wait;
    this.#search = new OutputSearch(wait.pattern);
    this.#position = wait.after;
    this.#open = new Set(wait.streams);
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#begin();
  }

  #begin() {
    const { after, streams, signal, timeout } = this.#wait;
    const { calls } = this.#followed;
    const [chunks, truncatedBytes] = calls.kept(after);
    this.#truncated = truncatedBytes;
    for (const [stream, data, seq] of chunks) this.#add(stream, data, seq);
    // Events bring what follows, and also some of what is kept.
    this.#cancels.push(this.#followed.watch((stream, data, seq) => this.#add(stream, data, seq)));
    for (const stream of streams) this.#cancels.push(calls.whenEnded(stream, () => this.#end(stream)));
    if (signal) this.#cancels.push(follow(signal, () => this.#fail(aborted(signal))));
    if (timeout > 0) {
      const timer = timers.setTimeout(() => this.#late(), Math.min(timeout, 0x7fffffff));
      this.#cancels.push(() => timers.clearTimeout(timer));
    }
  }

  /**
   * @param {StreamName} stream
   * @param {Uint8Array} data
   * @param {number} seq
   */
  #add(stream, data, seq) {
    const end = seq + data.byteLength;
    if (end <= this.#position) return;
    const known = Math.max(0, this.#position - seq);
    const fresh = known === 0 ? data : data.subarray(known);
    this.#position = end;
    this.#queue.push({ stream, data: fresh, seq: seq + known });
    this.#queued += fresh.byteLength;
    if (this.#queued > QUEUE_BYTES) this.#hold();
    this.#searchLater();
  }

  /** All that comes in one turn of the event loop is searched together, whatever the size of its chunks. */
  #searchLater() {
    this.#turn ??= timers.setImmediate(() => {
      this.#turn = undefined;
      this.#searchSome();
    });
  }

  #searchSome() {
    let bytes = 0;
    let taken = 0;
    let match;
    for (const { stream, data, seq } of this.#queue) {
      if (bytes >= TURN_BYTES) break;
      taken++;
      bytes += data.byteLength;
      match = this.#search.add(stream, data, seq);
      if (match) break;
    }
    match ??= this.#search.find();
    if (match) return this.#found(match);
    this.#queue.splice(0, taken);
    this.#queued -= bytes;
    if (this.#queue.length > 0) return this.#searchLater();
    this.#release();
    if (this.#open.size === 0) void this.#ended();
  }

  /** @param {StreamName} stream */
  #end(stream) {
    this.#open.delete(stream);
    if (this.#open.size === 0) this.#searchLater();
  }

  async #ended() {
    for (const stream of this.#wait.streams) {
      const match = this.#search.end(stream);
      if (match) return this.#found(match);
    }
    const { exit } = this.#followed;
    // Output ends before the VM's exit is known.
    const isAlive =
      exit?.reason !== "disposed" &&
      !this.#calls.gone &&
      (await this.#calls.ask("exists", "/").then(
        () => true,
        () => false,
      ));
    if (!isAlive) return this.#fail(disposed());
    const { name, pattern } = this.#wait;
    this.#fail(new AgentVmError("OUTPUT_ENDED", `The output of ${name} has ended without ${shown(pattern)}`));
  }

  #late() {
    const { name, pattern, timeout } = this.#wait;
    this.#fail(new AgentVmError("ETIMEDOUT", `${name} has not printed ${shown(pattern)} after ${timeout} ms`));
  }

  /** @param {Omit<OutputMatch, "truncatedBytes">} match */
  #found(match) {
    if (this.#isOver) return;
    this.#stop();
    this.#resolve({ ...match, truncatedBytes: this.#truncated });
  }

  /** @param {Error} error */
  #fail(error) {
    if (this.#isOver) return;
    this.#stop();
    this.#reject(error);
  }

  #stop() {
    this.#isOver = true;
    this.#queue = [];
    this.#release();
    if (this.#turn) timers.clearImmediate(this.#turn);
    for (const cancel of this.#cancels.splice(0)) cancel();
  }

  #hold() {
    if (this.#isHolding) return;
    this.#isHolding = true;
    for (const stream of this.#wait.streams) this.#followed.output.hold(this, stream);
  }

  #release() {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    for (const stream of this.#wait.streams) this.#followed.output.release(this, stream);
  }
}

/**
 * The pattern for a message.
 * @param {string | RegExp} pattern
 */
function shown(pattern) {
  const text = typeof pattern === "string" ? JSON.stringify(pattern) : String(pattern);
  return printable(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

exports.OutputWaits = OutputWaits;
