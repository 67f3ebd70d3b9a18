"use strict";
// Node.js streams over the input and the output of a process or shell.

const { Duplex, Readable, Writable } = require("node:stream");

/** @import { Output, StreamName } from "./output" */

/**
 * The writing half of the options of a stream.
 * @typedef {object} Writing
 * @property {(chunk: Uint8Array, encoding: BufferEncoding, done: (error?: Error | null) => void) => void} write
 * @property {(chunks: { chunk: Uint8Array }[], done: (error?: Error | null) => void) => void} writev
 * @property {(done: (error?: Error | null) => void) => void} final
 */

/** Bytes that a stream holds before it pauses its process; what is on its way at that moment still comes. */
const HIGH_WATER = 256 * 1024;

/**
 * How input is written: `write` resolves when all of it is taken.
 * @typedef {object} InputCalls
 * @property {(data: Uint8Array) => Promise<void>} write
 * @property {() => Promise<void>} close
 */

/**
 * One stream of an output, from its first byte to its end.
 * @param {Output} output
 * @param {StreamName} stream
 */
function readableOf(output, stream) {
  const source = new Source(output, stream);
  const readable = new Readable({
    highWaterMark: HIGH_WATER,
    read: () => source.resume(),
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
 * @param {Output} output
 * @param {Pick<InputCalls, "write">} input
 */
function duplexOf(output, input) {
  const source = new Source(output, "stdout");
  const duplex = new Duplex({
    readableHighWaterMark: HIGH_WATER,
    allowHalfOpen: false,
    ...writing({ ...input, close: async () => {} }),
    read: () => source.resume(),
    destroy: (error, done) => source.close(error, done),
  });
  source.start(duplex);
  return duplex;
}

/** Fills a readable stream. */
class Source {
  #output;
  #stream;
  /** @type {ReturnType<Output["read"]> | undefined} */
  #tap;

  /**
   * @param {Output} output
   * @param {StreamName} stream
   */
  constructor(output, stream) {
    this.#output = output;
    this.#stream = stream;
  }

  /** @param {Readable} readable */
  start(readable) {
    try {
      this.#tap = this.#output.read([this.#stream], {
        onData: (data) => readable.push(data),
        onStreamEnd: () => readable.push(null),
      });
    } catch (error) {
      readable.destroy(/** @type {Error} */ (error));
    }
  }

  resume() {
    this.#tap?.resume();
  }

  /**
   * @param {Error | null} error
   * @param {(error: Error | null) => void} done
   */
  close(error, done) {
    this.#tap?.close();
    done(error);
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
