"use strict";
// Decodes a response's Content-Encoding as fetch does (RFC 9110, 8.4). The server is hostile: it chooses the
// encodings and every byte. So the input that a decoder reads without producing output is bounded, and so is its
// window.

const { Transform } = require("node:stream");
const zlib = require("node:zlib");

const { AgentVmError } = require("../error");

/** More encodings than this are an attack on the reader's time: each can multiply the size by a thousand. */
const MOST_ENCODINGS = 2;

/**
 * The most bytes that a decoder may read without producing output. Any number of empty blocks, members and frames is
 * legal.
 */
const MOST_SILENT_BYTES = 1024 * 1024;

/** The base-2 logarithm of the largest zstd window: 8 MiB, which every decoder must support (RFC 8878, 3.1.1.1.2). */
const ZSTD_WINDOW_LOG = 23;

// A truncated response yields the part that arrived, as in browsers.
const { Z_SYNC_FLUSH, BROTLI_OPERATION_FLUSH } = zlib.constants;
const inflating = { flush: Z_SYNC_FLUSH, finishFlush: Z_SYNC_FLUSH };

/** @typedef {import("node:stream").TransformCallback} Done */

/**
 * Each function makes the decoder for a body, given the body's first byte.
 * @type {Map<string, (first: number) => Transform>}
 */
const makers = new Map();
makers.set("gzip", () => zlib.createGunzip(inflating));
makers.set("x-gzip", () => zlib.createGunzip(inflating));
// Some servers omit the zlib header, against the RFC; the first byte shows it.
makers.set("deflate", (first) =>
  (first & 0x0f) === 8 ? zlib.createInflate(inflating) : zlib.createInflateRaw(inflating),
);
makers.set("br", () =>
  zlib.createBrotliDecompress({ flush: BROTLI_OPERATION_FLUSH, finishFlush: BROTLI_OPERATION_FLUSH }),
);

/**
 * The Node.js types used here are older than zstd in Node.js.
 * @typedef {object} Zstd
 * @property {(options: object) => Transform} [createZstdDecompress]
 * @property {{ ZSTD_e_continue: number, ZSTD_e_end: number, ZSTD_d_windowLogMax: number }} constants
 */
const { createZstdDecompress, constants } = /** @type {Zstd} */ (/** @type {object} */ (zlib));
if (createZstdDecompress) {
  const { ZSTD_e_continue, ZSTD_e_end, ZSTD_d_windowLogMax } = constants;
  const params = { [ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG };
  const options = { flush: ZSTD_e_continue, finishFlush: ZSTD_e_end, params };
  makers.set("zstd", () => createZstdDecompress(options));
}

/**
 * Decodes one encoding. It holds a decoder, and that decoder's memory, from the first byte until it ends or is
 * destroyed.
 */
class Decoding extends Transform {
  #name;
  #make;
  /** @type {Transform | undefined} */
  #decoder;
  #silent = 0;
  /** @type {(() => void) | undefined} */
  #flushed;

  /**
   * @param {string} name
   * @param {(first: number) => Transform} make
   */
  constructor(name, make) {
    super();
    this.#name = name;
    this.#make = make;
  }

  /**
   * @override
   * @param {Buffer} chunk
   * @param {BufferEncoding} _
   * @param {Done} done
   */
  _transform(chunk, _, done) {
    const [first] = chunk;
    if (first === undefined) {
      done();
      return;
    }
    this.#decoder ??= this.#begin(first);
    this.#silent += chunk.length;
    if (this.#silent > MOST_SILENT_BYTES) {
      const message = `${MOST_SILENT_BYTES} bytes of encoding "${this.#name}" decode to nothing`;
      done(new AgentVmError("EPROTO", message));
      return;
    }
    this.#decoder.write(chunk, done);
  }

  /** @param {number} first */
  #begin(first) {
    const decoder = this.#make(first);
    decoder.on("data", (data) => {
      this.#silent = 0;
      if (!this.push(data)) decoder.pause();
    });
    decoder.on("error", (error) => this.destroy(error));
    // The decoder may end before its input does; the remaining input is not part of the body.
    decoder.once("end", () => {
      this.push(null);
      this.#flushed?.();
    });
    return decoder;
  }

  /**
   * @override
   * @param {number} size
   */
  _read(size) {
    this.#decoder?.resume();
    super._read(size);
  }

  /**
   * @override
   * @param {Done} done
   */
  _flush(done) {
    if (this.#decoder === undefined || this.#decoder.readableEnded) {
      done();
      return;
    }
    this.#flushed = done;
    this.#decoder.end();
  }

  /**
   * @override
   * @param {Error | null} error
   * @param {(error?: Error | null) => void} done
   */
  _destroy(error, done) {
    this.#decoder?.destroy();
    done(error);
  }
}

/**
 * Returns a function that makes the decoders, in order, for `stream.pipeline`; undefined if there is nothing to
 * decode. If any encoding is unknown, the body is not decoded at all.
 * @param {string | null} header
 */
function decodingOf(header) {
  const names = (header ?? "").toLowerCase().split(",");
  const encodings = names.map((name) => name.trim()).filter((name) => name !== "" && name !== "identity");
  if (encodings.length > MOST_ENCODINGS) {
    throw new AgentVmError("EPROTO", `encoded ${encodings.length} times, which is more than ${MOST_ENCODINGS}`);
  }
  const known = encodings.toReversed().flatMap((name) => {
    const make = makers.get(name);
    return make ? [{ name, make }] : [];
  });
  if (known.length === 0 || known.length < encodings.length) return undefined;
  return () => known.map(({ name, make }) => new Decoding(name, make));
}

module.exports = { decodingOf };
