"use strict";
// The body of a response on its way in: read and decoded only as fast as somebody reads it, and its connection closed when
// nobody can read it any more.
//
// The connection is a root for the garbage collector. So nothing that it leads to may lead on to the stream, or the
// stream would never be garbage: no listener here is made where the stream is within reach.

const { pipeline } = require("node:stream");

const { follow } = require("../abort");
const { aborted } = require("../error");

/** @import { IncomingMessage } from "node:http" */
/** @import { Readable, Transform } from "node:stream" */

/** @typedef {() => Transform[]} Decoding */

/**
 * What reading a body needs: `bodies` has those that are being decoded, `explain` makes an AgentVmError of what goes wrong.
 * @typedef {object} Context
 * @property {Set<{ destroy(error: Error): void }>} bodies
 * @property {AbortSignal | undefined} signal
 * @property {(error: unknown) => Promise<Error>} explain
 */

const abandoned = new FinalizationRegistry((/** @type {Source} */ source) => source.destroy());

/** What is left of a response, decoded from its first read on; an abort ends it at any time until it has been read. */
class Source {
  #incoming;
  #decoding;
  #bodies;
  /** Ends the following of the signal. */
  #unfollow;
  /**
   * The stream that is read: the response itself, or the last of its decoders.
   * @type {Readable}
   */
  #last;
  /** @type {AsyncIterator<Buffer> | undefined} */
  #chunks;

  /**
   * `bodies` holds it while it is being decoded.
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
    // One that has failed already says so itself; decoders would only say that it ended too soon.
    if (this.#decoding !== undefined && !this.#incoming.destroyed) {
      this.#bodies.add(this);
      const decoders = this.#decoding();
      pipeline([this.#incoming, ...decoders], () => {
        // The reader of the last of them gets the error too.
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
   * Frees what it holds. What is being read fails with `error`.
   * @param {Error} [error]
   */
  destroy(error) {
    this.#last.destroy(error);
    if (this.#last !== this.#incoming) this.#incoming.destroy();
  }
}

/**
 * A byte stream of what is left of `incoming`, decoded. `explain` makes an AgentVmError of what goes wrong, and holds
 * what the connection needs to go on.
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
        // A copy: the stream takes the whole memory that a chunk is a part of.
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
