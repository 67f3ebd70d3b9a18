"use strict";
// What undoes a response's Content-Encoding, as fetch does it (RFC 9110, 8.4). The server is hostile: it chooses the encodings
// and every byte, so what a decoder may take before it gives something is bounded, and so is its window.

const { Transform } = require("node:stream");
const zlib = require("node:zlib");

const { AgentVmError } = require("../error");

/** A response that is encoded more often than this is out to cost time: each encoding multiplies by a thousand. */
const MOST_ENCODINGS = 2;

/** Bytes that a decoder takes without giving any. Empty blocks, members and frames are legal in every number. */
const MOST_SILENT_BYTES = 1024 * 1024;

/** The logarithm of the largest window of zstd: 8 MiB, which every decoder has to support (RFC 8878, 3.1.1.1.2). */
const ZSTD_WINDOW_LOG = 23;

// A response that was cut off gives what there is of it, as in browsers.
const { Z_SYNC_FLUSH, BROTLI_OPERATION_FLUSH } = zlib.constants;
const inflating = { flush: Z_SYNC_FLUSH, finishFlush: Z_SYNC_FLUSH };

/** @typedef {import("node:stream").TransformCallback} Done */

/**
 * Each makes a decoder for a body that begins with a certain byte.
 * @type {Map<string, (first: number) => Transform>}
 */
const makers = new Map();
makers.set("gzip", () => zlib.createGunzip(inflating));
makers.set("x-gzip", () => zlib.createGunzip(inflating));
// Some servers leave the zlib header away, against the RFC: the first byte tells.
makers.set("deflate", (first) =>
  (first & 0x0f) === 8 ? zlib.createInflate(inflating) : zlib.createInflateRaw(inflating),
);
makers.set("br", () =>
  zlib.createBrotliDecompress({ flush: BROTLI_OPERATION_FLUSH, finishFlush: BROTLI_OPERATION_FLUSH }),
);

/**
 * Newer versions of Node.js than the one whose types are used here have zstd.
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

/** One encoding undone. It has a decoder, and that decoder's memory, from its first byte until it ends or is destroyed. */
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
    // It may end before its input does: what follows is no part of the body.
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
 * For `stream.pipeline`: a function that makes the decoders, in their order, or undefined where there are none to make. If
 * one of the encodings is not known, there are none: the body is as it came.
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
