"use strict";
// What undoes a response's Content-Encoding, as fetch does it (RFC 9110, 8.4).

const { pipeline } = require("node:stream");
const zlib = require("node:zlib");

const { AgentVmError } = require("../error");

/** A response that is encoded more often than this is out to cost memory. */
const MOST_ENCODINGS = 5;

// A response that was cut off gives what there is of it, as in browsers.
const { Z_SYNC_FLUSH, BROTLI_OPERATION_FLUSH, ZSTD_e_continue, ZSTD_e_end } = zlib.constants;
const inflating = { flush: Z_SYNC_FLUSH, finishFlush: Z_SYNC_FLUSH };

const makers = new Map([
  ["gzip", () => zlib.createGunzip(inflating)],
  ["x-gzip", () => zlib.createGunzip(inflating)],
  ["deflate", () => inflate],
  ["br", () => zlib.createBrotliDecompress({ flush: BROTLI_OPERATION_FLUSH, finishFlush: BROTLI_OPERATION_FLUSH })],
]);
if (zlib.createZstdDecompress) {
  makers.set("zstd", () => zlib.createZstdDecompress({ flush: ZSTD_e_continue, finishFlush: ZSTD_e_end }));
}

/** Some servers leave the zlib header away, against the RFC: the first byte tells. */
async function* inflate(source) {
  const chunks = source[Symbol.asyncIterator]();
  const { value, done } = await chunks.next();
  if (done) return;
  const all = async function* () {
    yield value;
    yield* chunks;
  };
  const decoder = (value[0] & 0x0f) === 8 ? zlib.createInflate(inflating) : zlib.createInflateRaw(inflating);
  yield* pipeline(all, decoder, () => {
    // The loop above is told too.
  });
}

/** For `stream.pipeline`, in their order; none if one of the encodings is not known: then the body is as it came. */
function decodersOf(header) {
  const names = (header ?? "").toLowerCase().split(",");
  const encodings = names.map((name) => name.trim()).filter((name) => name !== "" && name !== "identity");
  if (encodings.length > MOST_ENCODINGS) {
    throw new AgentVmError("EPROTO", `encoded ${encodings.length} times, which is more than ${MOST_ENCODINGS}`);
  }
  if (!encodings.every((name) => makers.has(name))) return [];
  return encodings.reverse().map((name) => makers.get(name)());
}

module.exports = { decodersOf };
