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
const { Z_SYNC_FLUSH, BROTLI_OPERATION_FLUSH, ZSTD_e_continue, ZSTD_e_end, ZSTD_d_windowLogMax } = zlib.constants;
const inflating = { flush: Z_SYNC_FLUSH, finishFlush: Z_SYNC_FLUSH };

// Each makes a decoder for a body that begins with a certain byte.
const makers = new Map([
  ["gzip", () => zlib.createGunzip(inflating)],
  ["x-gzip", () => zlib.createGunzip(inflating)],
  // Some servers leave the zlib header away, against the RFC: the first byte tells.
  ["deflate", (first) => ((first & 0x0f) === 8 ? zlib.createInflate(inflating) : zlib.createInflateRaw(inflating))],
  ["br", () => zlib.createBrotliDecompress({ flush: BROTLI_OPERATION_FLUSH, finishFlush: BROTLI_OPERATION_FLUSH })],
]);
if (zlib.createZstdDecompress) {
  const params = { [ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG };
  const options = { flush: ZSTD_e_continue, finishFlush: ZSTD_e_end, params };
  makers.set("zstd", () => zlib.createZstdDecompress(options));
}

/** One encoding undone. It has a decoder, and that decoder's memory, from its first byte until it ends or is destroyed. */
class Decoding extends Transform {
  #name;
  #make;
  #decoder;
  #silent = 0;
  #flushed;

  constructor(name, make) {
    super();
    this.#name = name;
    this.#make = make;
  }

  _transform(chunk, _, done) {
    if (chunk.length === 0) {
      done();
      return;
    }
    this.#decoder ??= this.#begin(chunk[0]);
    this.#silent += chunk.length;
    if (this.#silent > MOST_SILENT_BYTES) {
      const message = `${MOST_SILENT_BYTES} bytes of encoding "${this.#name}" decode to nothing`;
      done(new AgentVmError("EPROTO", message));
      return;
    }
    this.#decoder.write(chunk, done);
  }

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

  _read(size) {
    this.#decoder?.resume();
    super._read(size);
  }

  _flush(done) {
    if (this.#decoder === undefined || this.#decoder.readableEnded) {
      done();
      return;
    }
    this.#flushed = done;
    this.#decoder.end();
  }

  _destroy(error, done) {
    this.#decoder?.destroy();
    done(error);
  }
}

/**
 * For `stream.pipeline`: a function that makes the decoders, in their order, or undefined where there are none to make. If
 * one of the encodings is not known, there are none: the body is as it came.
 */
function decodingOf(header) {
  const names = (header ?? "").toLowerCase().split(",");
  const encodings = names.map((name) => name.trim()).filter((name) => name !== "" && name !== "identity");
  if (encodings.length > MOST_ENCODINGS) {
    throw new AgentVmError("EPROTO", `encoded ${encodings.length} times, which is more than ${MOST_ENCODINGS}`);
  }
  if (encodings.length === 0 || !encodings.every((name) => makers.has(name))) return undefined;
  return () => encodings.toReversed().map((name) => new Decoding(name, makers.get(name)));
}

module.exports = { decodingOf };
