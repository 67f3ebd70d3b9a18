"use strict";
// The output of one process or shell, for readers that take it from its first byte and at their own pace. Readers take
// nothing from the events: they get the same chunks.

const { AgentVmError } = require("../error");

/** @import { Chunk } from "../wire" */

/** @typedef {Chunk[0]} StreamName */

/**
 * The addon's calls about one process or shell.
 * @typedef {object} OutputCalls
 * @property {(after?: number) => [chunks: Chunk[], truncatedBytes: number]} kept Returns the kept output, from its first byte on or from another.
 * @property {(stream: StreamName, paused: boolean) => void} pause Pauses or resumes the host's reading.
 * @property {(stream: StreamName) => void} close Closes the host's reading end.
 * @property {(stream: StreamName, onEnd: () => void) => () => void} whenEnded
 *   Calls `onEnd` once, after the last chunk of the stream. The returned function cancels that.
 */

/**
 * What a reader is called with. `onData` returns whether the reader has room for more; `seq` counts the bytes of all
 * streams before `data`. Outputs of an actor, which may be out of reach, also call `onError`, which ends the reading.
 * @typedef {object} Reader
 * @property {(data: Uint8Array, stream: StreamName, seq: number) => boolean} onData
 * @property {(stream: StreamName) => void} onStreamEnd
 * @property {(error: Error) => void} [onError]
 */

/**
 * What a stream reads from: an `Output`, or that of a client's process.
 * @typedef {object} ReadableOutput
 * @property {(streams: readonly StreamName[], reader: Reader) => { resume(): void, close(): void }} read
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

  /** How many bytes events have delivered, of all streams. */
  get delivered() {
    return this.#delivered;
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
        tap.take(stream, data, seq);
      } catch (error) {
        // A listener of the reader threw. The other readers still get the chunk.
        process.nextTick(() => {
          throw error;
        });
      }
    }
  }

  /**
   * Reads these streams from the byte `after` on, which counts the bytes of all streams and is at most `delivered`. Throws
   * LIMIT_EXCEEDED, with `truncatedBytes`, if bytes that events have delivered are no longer kept.
   * @param {readonly StreamName[]} streams
   * @param {Reader} reader
   */
  read(streams, reader, after = 0) {
    const delivered = this.#delivered;
    // Events bring all that comes after those bytes.
    const [chunks, truncatedBytes] = delivered === 0 ? [[], 0] : this.#calls.kept();
    const lost = Math.min(truncatedBytes, delivered) - after;
    if (lost > 0) throw truncated(lost);
    const tap = new Tap(this, streams, reader);
    (this.#taps ??= new Set()).add(tap);
    for (const [stream, data, seq] of chunks) {
      const skipped = Math.max(0, after - seq);
      const fresh = data.subarray(skipped, Math.max(0, delivered - seq));
      if (fresh.byteLength > 0) tap.take(stream, fresh, seq + skipped);
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
   * @param {number} seq
   */
  take(stream, data, seq) {
    if (!this.#open.has(stream) || this.#reader.onData(data, stream, seq) || this.#isHolding) return;
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
