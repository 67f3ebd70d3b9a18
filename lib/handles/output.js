"use strict";
// The output of one process or shell, for readers that take it from its first byte and at their own pace. Readers take
// nothing from the events: they get the same chunks.

const { AgentVmError } = require("../error");

/** @import { Chunk } from "../wire" */

/** @typedef {Chunk[0]} StreamName */

/**
 * The addon's calls about one process or shell.
 * @typedef {object} OutputCalls
 * @property {() => [chunks: Chunk[], truncatedBytes: number]} kept Returns the kept output from its first byte on.
 * @property {(stream: StreamName, paused: boolean) => void} pause Pauses or resumes the host's reading.
 * @property {(stream: StreamName) => void} close Closes the host's reading end.
 * @property {(stream: StreamName, onEnd: () => void) => () => void} whenEnded
 *   Calls `onEnd` once, after the last chunk of the stream. The returned function cancels that.
 */

/**
 * What a reader is called with. `onData` returns whether the reader has room for more.
 * @typedef {object} Reader
 * @property {(data: Uint8Array, stream: StreamName) => boolean} onData
 * @property {(stream: StreamName) => void} onStreamEnd
 */

class Output {
  #calls;
  /** How many bytes events have delivered. */
  #delivered = 0;
  /** @type {Set<Tap> | undefined} */
  #taps;
  /**
   * What keeps a stream paused: readers without room, and callers.
   * @type {Map<StreamName, Set<unknown>> | undefined}
   */
  #holders;

  /** @param {OutputCalls} calls */
  constructor(calls) {
    this.#calls = calls;
  }

  /** Whether anybody reads it as a stream. */
  get isRead() {
    return this.#taps !== undefined;
  }

  /**
   * An event has delivered a chunk.
   * @param {StreamName} stream
   * @param {Uint8Array} data
   * @param {number} seq
   */
  deliver(stream, data, seq) {
    this.#delivered = seq + data.byteLength;
    if (this.#taps === undefined) return;
    for (const tap of this.#taps) {
      try {
        tap.take(stream, data);
      } catch (error) {
        // A listener of the reader threw. The other readers still get the chunk.
        process.nextTick(() => {
          throw error;
        });
      }
    }
  }

  /**
   * Reads these streams from the first byte on. Throws LIMIT_EXCEEDED, with `truncatedBytes`, if bytes that events have
   * delivered are no longer kept.
   * @param {readonly StreamName[]} streams
   * @param {Reader} reader
   */
  read(streams, reader) {
    const delivered = this.#delivered;
    // Events bring all that comes after those bytes.
    const [chunks, truncatedBytes] = delivered === 0 ? [[], 0] : this.#calls.kept();
    if (truncatedBytes > 0) throw truncated(Math.min(truncatedBytes, delivered));
    const tap = new Tap(this, streams, reader);
    (this.#taps ??= new Set()).add(tap);
    for (const [stream, data, seq] of chunks) {
      if (seq < delivered) tap.take(stream, data.subarray(0, delivered - seq));
    }
    tap.watch(this.#calls.whenEnded);
    return tap;
  }

  /** @param {Tap} tap */
  forget(tap) {
    this.#taps?.delete(tap);
    if (this.#taps?.size === 0) this.#taps = undefined;
  }

  /**
   * Keeps the stream paused until `holder` releases it.
   * @param {unknown} holder
   * @param {StreamName} stream
   */
  hold(holder, stream) {
    this.#holders ??= new Map();
    const holders = this.#holders.get(stream) ?? new Set();
    this.#holders.set(stream, holders.add(holder));
    if (holders.size === 1) this.#calls.pause(stream, true);
  }

  /**
   * @param {unknown} holder
   * @param {StreamName} stream
   */
  release(holder, stream) {
    const holders = this.#holders?.get(stream);
    if (holders?.delete(holder) && holders.size === 0) this.#calls.pause(stream, false);
  }

  /**
   * Closes the reading end of the stream: the program gets EPIPE, and readers reach the end.
   * @param {StreamName} stream
   */
  closeInside(stream) {
    this.#calls.close(stream);
  }
}

/** One reader of an output. */
class Tap {
  #output;
  #reader;
  /** The streams that have not ended. */
  #open;
  #isHolding = false;
  /** @type {(() => void)[]} */
  #cancels = [];

  /**
   * @param {Output} output
   * @param {readonly StreamName[]} streams
   * @param {Reader} reader
   */
  constructor(output, streams, reader) {
    this.#output = output;
    this.#reader = reader;
    this.#open = new Set(streams);
  }

  /** @param {OutputCalls["whenEnded"]} whenEnded */
  watch(whenEnded) {
    for (const stream of [...this.#open]) this.#cancels.push(whenEnded(stream, () => this.#end(stream)));
  }

  /**
   * @param {StreamName} stream
   * @param {Uint8Array} data
   */
  take(stream, data) {
    if (!this.#open.has(stream) || this.#reader.onData(data, stream) || this.#isHolding) return;
    this.#isHolding = true;
    for (const each of this.#open) this.#output.hold(this, each);
  }

  /** The reader has room again. */
  resume() {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    for (const stream of this.#open) this.#output.release(this, stream);
  }

  /** Ends the reading. The reader is not called any more. */
  close() {
    this.resume();
    this.#open.clear();
    for (const cancel of this.#cancels.splice(0)) cancel();
    this.#output.forget(this);
  }

  /** @param {StreamName} stream */
  #end(stream) {
    if (!this.#open.delete(stream)) return;
    if (this.#open.size === 0) this.close();
    this.#reader.onStreamEnd(stream);
  }
}

/** @param {number} truncatedBytes */
function truncated(truncatedBytes) {
  return new AgentVmError(
    "LIMIT_EXCEEDED",
    `The first ${truncatedBytes} bytes of the output are no longer kept (limits.replayBytes): read it from the start, or raise the limit`,
    { __proto__: null, truncatedBytes },
  );
}

exports.Output = Output;
