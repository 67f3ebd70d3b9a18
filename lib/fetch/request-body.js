"use strict";
// The body of a request. It is sent with its length if that is known, because many small servers do not read chunked
// bodies. It can be sent again after a redirect, unless it is a stream.

const { Readable } = require("node:stream");
const { types } = require("node:util");

const { AgentVmError, invalid } = require("../error");

/**
 * The source of a request's body: `open()` makes a readable stream, `size` is the number of bytes if known, `once` is
 * true if the body cannot be opened again.
 * @typedef {{ size: number | undefined, once: boolean, open: () => Readable }} Source
 */

/** @typedef {Pick<ReadableStreamDefaultReader<unknown>, "read" | "cancel">} Reader */

/** How many bytes of a Request's body are read ahead to find out whether it is short. */
const PEEK_BYTES = 65_536;

/**
 * `given` is the body in the caller's `init`.
 * @param {Request} request
 * @param {unknown} given
 * @returns {Promise<Source | undefined>}
 */
async function sourceOf(request, given) {
  const { body } = request;
  if (body === null) return undefined;
  if (given instanceof Blob) {
    return { size: given.size, once: false, open: () => readableOf(given.stream().getReader()) };
  }
  if (isAsyncIterable(given)) return { size: undefined, once: true, open: () => readableOf(body.getReader()) };
  if (given !== undefined && given !== null) return whole(Buffer.from(await request.arrayBuffer()));
  return peek(body.getReader());
}

/** @param {unknown} value */
function isAsyncIterable(value) {
  if (value === undefined || value === null) return false;
  return typeof Reflect.get(Object(value), Symbol.asyncIterator) === "function";
}

/**
 * @param {Buffer} bytes
 * @returns {Source}
 */
function whole(bytes) {
  return { size: bytes.length, once: false, open: () => Readable.from([bytes], { objectMode: false }) };
}

/**
 * A Request does not say whether its body was made from text or from a stream. So the part that arrives without
 * waiting is read first: if it is short and complete, it is sent with its length; otherwise the body is sent as a
 * stream.
 * @param {Reader} reader
 * @returns {Promise<Source>}
 */
async function peek(reader) {
  /** @type {Uint8Array[]} */
  const chunks = [];
  let bytes = 0;
  /** @type {ReturnType<typeof chunkOf> | undefined} */
  let next;
  /** @type {Promise<void>} */
  const late = new Promise((resolve) => {
    setImmediate(resolve);
  });
  while (bytes <= PEEK_BYTES) {
    next = chunkOf(reader);
    // The code that reads on gets the error.
    next.catch(() => {});
    const chunk = await Promise.race([next, late]);
    if (chunk === undefined) break;
    next = undefined;
    if (chunk === null) return whole(Buffer.concat(chunks, bytes));
    chunks.push(chunk);
    bytes += chunk.byteLength;
  }
  return { size: undefined, once: true, open: () => readableOf(reader, chunks, next) };
}

/**
 * Returns the bytes already read, then the result of `next`, then the rest.
 * @param {Reader} reader
 * @param {Uint8Array[]} chunks
 * @param {ReturnType<typeof chunkOf>} [next]
 */
function readableOf(reader, chunks = [], next = undefined) {
  const waited = next === undefined ? [] : [next];
  return new Readable({
    read() {
      if (chunks.length > 0) {
        this.push(chunks.shift());
        return;
      }
      (waited.shift() ?? chunkOf(reader)).then(
        (chunk) => this.push(chunk),
        (error) => this.destroy(error),
      );
    },
    destroy(error, done) {
      // If the reader failed by itself, `error` says why.
      reader.cancel(error).catch(() => {});
      done(error);
    },
  });
}

/**
 * The next bytes, or null at the end.
 * @param {Reader} reader
 */
async function chunkOf(reader) {
  let read;
  try {
    read = await reader.read();
  } catch (error) {
    // The caller's stream may fail with any value.
    const reason = /** @type {Error | null | undefined} */ (error)?.message ?? String(error);
    throw new AgentVmError("EIO", `The body of the request could not be read: ${reason}`, { cause: error });
  }
  if (read.done) return null;
  if (!types.isUint8Array(read.value)) throw invalid("init.body must be a stream of Uint8Array chunks");
  return read.value;
}

module.exports = { sourceOf };
