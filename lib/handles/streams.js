"use strict";
// Node.js streams over the input and the output of a process or shell.

const { Duplex, Readable, Writable } = require("node:stream");

const { ByteQueue } = require("./byte-queue");
const { Loop } = require("./iteration");

/** @import { ReadableOutput, StreamName } from "./output" */

/**
 * The writing half of the options of a stream.
 * @typedef {object} Writing
 * @property {(chunk: Uint8Array, encoding: BufferEncoding, done: (error?: Error | null) => void) => void} write
 * @property {(chunks: { chunk: Uint8Array }[], done: (error?: Error | null) => void) => void} writev
 * @property {(done: (error?: Error | null) => void) => void} final
 */

/** Bytes that a stream holds itself. */
const HIGH_WATER = 256 * 1024;
/**
 * Bytes that wait for a stream's reader, those that the stream holds included, before its process is paused; what is on
 * its way at that moment still comes.
 */
const MOST_WAITING = 2 * HIGH_WATER;
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
  /** @type {Loop | undefined} */
  #loop;

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
    Object.defineProperty(readable, Symbol.asyncIterator, { value: () => this.#iterate(readable) });
    try {
      this.#tap = this.#output.read([this.#stream], {
        onData: (data) => this.#add(readable, data),
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
    this.#resume();
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

  /**
   * @param {Readable} readable
   * @param {Uint8Array} data
   */
  #add(readable, data) {
    const loop = this.#directLoop(readable);
    if (loop) {
      if (this.#queue.bytes > 0 || readable.readableLength > 0 || !loop.wake(data)) this.#queue.add(data);
      return this.#hasRoom();
    }
    if (this.#wanted && this.#queue.bytes === 0 && (data.byteLength >= SMALL || readable.readableLength === 0)) {
      this.#wanted = readable.push(data);
      return true;
    }
    // What its reader has not caught up with waits here, where small pieces are joined.
    this.#queue.add(data);
    if (this.#wanted) this.#pushing ??= setImmediate(() => this.#push());
    return this.#hasRoom();
  }

  #push() {
    this.#pushing = undefined;
    while (this.#wanted && this.#queue.bytes > 0) this.#wanted = this.#readable?.push(this.#queue.take()) ?? false;
    if (this.#ended && this.#queue.bytes === 0) this.#readable?.push(null);
  }

  #resume() {
    if (this.#hasRoom()) this.#tap?.resume();
  }

  #hasRoom() {
    return this.#queue.bytes + (this.#readable?.readableLength ?? 0) < MOST_WAITING;
  }

  // ---- `for await`

  /** @param {Readable} readable */
  #iterate(readable) {
    const loop = new Loop(readable, () => this.#take(readable));
    this.#loop = loop;
    return loop.chunks();
  }

  /**
   * The next chunk for a loop over the stream.
   * @param {Readable} readable
   */
  #take(readable) {
    if (readable.destroyed) return null;
    if (this.#directLoop(readable) === undefined) {
      this.#push();
    } else if (readable.readableLength === 0) {
      const chunk = this.#queue.take();
      if (chunk !== undefined) {
        if (this.#ended) this.#push();
        this.#resume();
        return chunk;
      }
      if (this.#wanted && !this.#ended) return null;
    }
    return readable.read();
  }

  /**
   * The loop that gets its chunks directly, not through the stream. There is none if anything else looks at what comes
   * through the stream, or before the stream knows that it is read.
   * @param {Readable} readable
   */
  #directLoop(readable) {
    const isDirect =
      readable.readableDidRead &&
      readable.readableEncoding === null &&
      readable.listenerCount("readable") === 1 &&
      readable.listenerCount("data") === 0;
    return isDirect ? this.#loop : undefined;
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
