"use strict";
// Waits until a process or shell prints something. The wait searches what is kept of its output, and then what events bring.

const timers = require("node:timers");

const { follow } = require("./abort");
const { AgentVmError, aborted, disposed } = require("./error");
const { ExpressionSearch } = require("./expression-search");
const { printable } = require("./printable");
const turns = require("./search-turns");
const { TextSearch } = require("./text-search");

/** @import { OutputMatch } from "../index" */
/** @import { Calls } from "./calls" */
/** @import { Followed } from "./followed" */
/** @import { StreamName } from "./handles/output" */
/** @import { Searcher } from "./search-turns" */

/** The maximum number of such waits of one VM. */
const MOST_WAITS = 1024;
/** How many bytes one wait searches before the next one gets its turn. */
const SLICE_BYTES = 64 * 1024;
/** How many bytes may wait to be searched before the program is paused. */
const QUEUE_BYTES = 1024 * 1024;
/** What each chunk, and each turn, counts beside its bytes. */
const CHUNK_BYTES = 512;

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

/** @implements {Searcher} */
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
  /** How far the output is searched or queued. */
  #position;
  /** How far it was kept when the wait began. */
  #keptUntil = 0;
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
    const { pattern, signal, timeout } = wait;
    this.#search = typeof pattern === "string" ? new TextSearch(pattern) : new ExpressionSearch(pattern);
    this.#position = wait.after;
    this.#open = new Set(wait.streams);
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (signal) this.#cancels.push(follow(signal, () => this.#fail(aborted(signal))));
    if (timeout > 0) {
      const timer = timers.setTimeout(() => this.#late(), Math.min(timeout, 0x7fffffff));
      this.#cancels.push(() => timers.clearTimeout(timer));
    }
    // What is kept stays kept until then.
    if (!turns.beginSearch(this)) this.#hold();
  }

  begin() {
    try {
      this.#begin();
    } catch (error) {
      this.#fail(/** @type {Error} */ (error));
    }
  }

  #begin() {
    const { after, streams } = this.#wait;
    const { calls } = this.#followed;
    const [chunks, truncatedBytes] = calls.kept(after);
    this.#truncated = truncatedBytes;
    for (const [stream, data, seq] of chunks) this.#add(stream, data, seq);
    this.#keptUntil = this.#position;
    // Events bring what follows, and also some of what is kept.
    this.#cancels.push(this.#followed.watch((stream, data, seq) => this.#add(stream, data, seq)));
    for (const stream of streams) this.#cancels.push(calls.whenEnded(stream, () => this.#end(stream)));
    turns.searchLater(this);
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
    this.#position = end;
    // In slices, each of which is searched in one turn.
    for (let at = known; at < data.byteLength; at += SLICE_BYTES) {
      const isWhole = at === 0 && data.byteLength <= SLICE_BYTES;
      const slice = isWhole ? data : data.subarray(at, at + SLICE_BYTES);
      this.#queue.push({ stream, data: slice, seq: seq + at });
      this.#queued += slice.byteLength + CHUNK_BYTES;
    }
    if (this.#queued > QUEUE_BYTES) this.#hold();
    turns.searchLater(this);
  }

  /** Searches the next slice of what is queued. What came in small chunks is searched together. */
  search() {
    const before = this.#search.searched;
    let taken = 0;
    let cost = 0;
    try {
      let match;
      for (const { stream, data, seq } of this.#queue) {
        if (taken > 0 && cost + data.byteLength > SLICE_BYTES) break;
        taken++;
        cost += data.byteLength + CHUNK_BYTES;
        match = this.#search.add(stream, data, seq);
        if (match) break;
      }
      match ??= this.#search.find();
      if (match) this.#found(match);
      else this.#searched(taken, cost);
    } catch (error) {
      // An expression may need more stack than there is.
      this.#fail(/** @type {Error} */ (error));
    }
    return this.#search.searched - before + taken * CHUNK_BYTES + CHUNK_BYTES;
  }

  /**
   * @param {number} taken
   * @param {number} cost
   */
  #searched(taken, cost) {
    this.#queue.splice(0, taken);
    this.#queued -= cost;
    const [first] = this.#queue;
    if (!first || first.seq >= this.#keptUntil) turns.begun(this);
    if (first) return turns.searchLater(this);
    this.#release();
    if (this.#open.size === 0) void this.#ended();
  }

  /** @param {StreamName} stream */
  #end(stream) {
    this.#open.delete(stream);
    if (this.#open.size === 0) turns.searchLater(this);
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
    turns.endSearch(this);
    this.#release();
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
