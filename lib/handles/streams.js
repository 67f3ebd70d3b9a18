"use strict";
// Node.js streams over the input and the output of a process or shell.

const { Duplex, Readable, Writable } = require("node:stream");

const { ByteQueue } = require("./byte-queue");

/** @import { ReadableOutput, StreamName } from "./output" */

/**
 * The writing half of the options of a stream.
 * @typedef {object} Writing
 * @property {(chunk: Uint8Array, encoding: BufferEncoding, done: (error?: Error | null) => void) => void} write
 * @property {(chunks: { chunk: Uint8Array }[], done: (error?: Error | null) => void) => void} writev
 * @property {(done: (error?: Error | null) => void) => void} final
 */

/** Bytes that wait for a stream before its process is paused; what is on its way at that moment still comes. */
const MOST_WAITING = 256 * 1024;
/** Bytes that a stream holds itself. */
const HIGH_WATER = 256 * 1024;
/** A smaller piece takes many times the memory of its bytes. */
const SMALL = 4096;

/**
 * How input is written: `write` resolves when all of it is taken.
 * @typedef {object} InputCalls
 * @property {(data: Uint8Array) => Promise<void>} write
 * @property {() => Promise<void>} close
 */

/**
 * One stream of an output, from its first byte to its end.
 * @param {ReadableOutput} output
 * @param {StreamName} stream
 */
function readableOf(output, stream) {
  const source = new Source(output, stream);
  const readable = new Readable({
    highWaterMark: HIGH_WATER,
    read: () => source.read(),
    destroy: (error, done) => source.close(error, done),
  });
  source.start(readable);
  return readable;
}

/** @param {InputCalls} input */
function writableOf(input) {
  return new Writable({ ...writing(input), destroy: (error, done) => settle(input.close(), () => done(error)) });
}

/**
 * A terminal: its output, and what a person would type. `end()` ends the writing, and tells the programs nothing.
 * @param {ReadableOutput} output
 * @param {Pick<InputCalls, "write">} input
 */
function duplexOf(output, input) {
  const source = new Source(output, "stdout");
  const duplex = new Duplex({
    readableHighWaterMark: HIGH_WATER,
    allowHalfOpen: false,
    ...writing({ ...input, close: async () => {} }),
    read: () => source.read(),
    destroy: (error, done) => source.close(error, done),
  });
  source.start(duplex);
  return duplex;
}

/** Fills a readable stream with what it asks for; the rest waits. */
class Source {
  #output;
  #stream;
  /** @type {Readable | undefined} */
  #readable;
  /** @type {ReturnType<ReadableOutput["read"]> | undefined} */
  #tap;
  #queue = new ByteQueue();
  /** Whether the stream has asked for more than it got. */
  #wanted = false;
  #ended = false;
  /** @type {NodeJS.Immediate | undefined} */
  #pushing;

  /**
   * @param {ReadableOutput} output
   * @param {StreamName} stream
   */
  constructor(output, stream) {
    this.#output = output;
    this.#stream = stream;
  }

  /** @param {Readable} readable */
  start(readable) {
    this.#readable = readable;
    try {
      this.#tap = this.#output.read([this.#stream], {
        onData: (data) => this.#add(data),
        onStreamEnd: () => {
          this.#ended = true;
          this.#push();
        },
        onError: (error) => readable.destroy(error),
      });
    } catch (error) {
      readable.destroy(/** @type {Error} */ (error));
    }
  }

  /** The stream asks for more. */
  read() {
    this.#wanted = true;
    this.#push();
    if (this.#queue.bytes < MOST_WAITING) this.#tap?.resume();
  }

  /**
   * @param {Error | null} error
   * @param {(error: Error | null) => void} done
   */
  close(error, done) {
    this.#tap?.close();
    clearImmediate(this.#pushing);
    this.#queue = new ByteQueue();
    done(error);
  }

  /** @param {Uint8Array} data */
  #add(data) {
    if (this.#wanted && this.#queue.bytes === 0 && (data.byteLength >= SMALL || this.#readable?.readableLength === 0)) {
      this.#wanted = this.#readable?.push(data) ?? false;
      return true;
    }
    // What its reader has not caught up with waits here, where small pieces are joined.
    this.#queue.add(data);
    if (this.#wanted) this.#pushing ??= setImmediate(() => this.#push());
    return this.#queue.bytes < MOST_WAITING;
  }

  #push() {
    this.#pushing = undefined;
    while (this.#wanted && this.#queue.bytes > 0) this.#wanted = this.#readable?.push(this.#queue.take()) ?? false;
    if (this.#ended && this.#queue.bytes === 0) this.#readable?.push(null);
  }
}

/**
 * The writing half of a stream's options.
 * @param {InputCalls} input
 * @returns {Writing}
 */
function writing(input) {
  return {
    write: (chunk, _encoding, done) => settle(input.write(chunk), done),
    writev: (chunks, done) => settle(input.write(Buffer.concat(chunks.map(({ chunk }) => chunk))), done),
    final: (done) => settle(input.close(), done),
  };
}

/**
 * Calls `done` when the promise has settled.
 * @param {Promise<void>} promise
 * @param {(error?: Error | null) => void} done
 */
async function settle(promise, done) {
  let failure;
  try {
    await promise;
  } catch (error) {
    failure = /** @type {Error} */ (error);
  }
  done(failure);
}

module.exports = { readableOf, writableOf, duplexOf };
