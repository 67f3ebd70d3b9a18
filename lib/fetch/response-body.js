"use strict";
// The body of a response. It is read and decoded only as fast as the caller reads it, and its connection is closed
// when nobody can read the body any more.
//
// The garbage collector never frees a connection. So a connection must not lead to the stream by any reference, or
// the stream could never be collected: no listener here is created where it could capture the stream.

const { pipeline } = require("node:stream");

const { follow } = require("../abort");
const { aborted } = require("../error");

/** @import { IncomingMessage } from "node:http" */
/** @import { Readable, Transform } from "node:stream" */

/** @typedef {() => Transform[]} Decoding */

/**
 * What reading a body needs: `bodies` holds the bodies that are being decoded, `explain` converts errors to an
 * AgentVmError.
 * @typedef {object} Context
 * @property {Set<{ destroy(error: Error): void }>} bodies
 * @property {AbortSignal | undefined} signal
 * @property {(error: unknown) => Promise<Error>} explain
 */

const abandoned = new FinalizationRegistry((/** @type {Source} */ source) => source.destroy());

/**
 * The unread part of a response, decoded from the first read on. An abort ends it at any time until it has been read.
 */
class Source {
  #incoming;
  #decoding;
  #bodies;
  /** Stops following the signal. */
  #unfollow;
  /**
   * The stream that is read: the response itself, or the last decoder.
   * @type {Readable}
   */
  #last;
  /** @type {AsyncIterator<Buffer> | undefined} */
  #chunks;

  /**
   * `bodies` contains it while it is being decoded.
   * @param {IncomingMessage} incoming
   * @param {Decoding | undefined} decoding
   * @param {Context["bodies"]} bodies
   * @param {AbortSignal | undefined} signal
   */
  constructor(incoming, decoding, bodies, signal) {
    this.#incoming = incoming;
    this.#decoding = decoding;
    this.#bodies = bodies;
    this.#unfollow = signal && follow(signal, () => this.destroy(aborted(signal)));
    this.#last = incoming;
    this.#follow(incoming);
  }

  next() {
    this.#chunks ??= this.#begin();
    return this.#chunks.next();
  }

  /** @returns {AsyncIterator<Buffer>} */
  #begin() {
    // A failed response has its own error already; decoders would only report that it ended too soon.
    if (this.#decoding !== undefined && !this.#incoming.destroyed) {
      this.#bodies.add(this);
      const decoders = this.#decoding();
      pipeline([this.#incoming, ...decoders], () => {
        // The reader of the last decoder gets the same error.
      });
      this.#follow(decoders.at(-1) ?? this.#incoming);
    }
    return this.#last[Symbol.asyncIterator]();
  }

  /** @param {Readable} stream */
  #follow(stream) {
    this.#last = stream;
    stream.once("close", () => {
      if (stream === this.#last) this.#end();
    });
  }

  #end() {
    this.#unfollow?.();
    this.#bodies.delete(this);
  }

  /**
   * Releases everything. A pending read fails with `error`.
   * @param {Error} [error]
   */
  destroy(error) {
    this.#last.destroy(error);
    if (this.#last !== this.#incoming) this.#incoming.destroy();
  }
}

/**
 * A byte stream of the unread part of `incoming`, decoded. `explain` converts errors to an AgentVmError, and keeps
 * alive what the connection needs.
 * @param {IncomingMessage} incoming
 * @param {Decoding | undefined} decoding
 * @param {Context} context
 */
function bodyOf(incoming, decoding, { bodies, signal, explain }) {
  const source = new Source(incoming, decoding, bodies, signal);
  /** @type {import("../members").Bare<import("node:stream/web").UnderlyingByteSource>} */
  const underlying = {
    __proto__: null,
    type: "bytes",
    async pull(controller) {
      let next;
      try {
        next = await source.next();
      } catch (error) {
        controller.error(await explain(error));
        return;
      }
      if (next.done) {
        controller.close();
        controller.byobRequest?.respond(0);
      } else {
        // A copy, because the stream takes over the whole buffer that a chunk is part of.
        controller.enqueue(new Uint8Array(next.value));
      }
    },
    cancel() {
      source.destroy();
    },
  };
  const stream = new ReadableStream(underlying);
  abandoned.register(stream, source);
  return stream;
}

module.exports = { bodyOf };
