"use strict";
// Streams over files of a VM, in this server or in an actor's. The file stays open there; each read and each write is a
// call, made when the stream asks for it.

const { Readable, Writable } = require("node:stream");

const check = require("./arguments");
const { follow } = require("./abort");
const { aborted, invalid } = require("./error");
const checkFile = require("./file-arguments");

/** @import { AgentVm } from "../index" */
/** @typedef {import("./file-streams").FileBackend} FileBackend */
/** @typedef {import("./file-streams").OpenedFile} OpenedFile */
/** @typedef {(error?: Error | null) => void} Done */

/** The most bytes that one read or write takes. */
const MOST_AT_ONCE = 1024 * 1024;
/**
 * How many bytes the first read of a stream takes without a `highWaterMark`. Each later read takes twice as many, up to
 * `backend.usual`: a stream that nobody reads holds little memory, and a large file takes few calls.
 */
const FIRST_READ = 64 * 1024;

const highWaterMark = check.integer(1, 2 ** 30);
const reading = {
  __proto__: /** @type {null} */ (null),
  start: checkFile.bytes,
  end: checkFile.bytes,
  encoding: checkFile.encoding,
  highWaterMark,
  signal: check.abortSignal,
};
const writing = {
  __proto__: /** @type {null} */ (null),
  flags: check.oneOf("w", "wx", "a", "ax", "r+"),
  start: checkFile.bytes,
  mode: checkFile.permissions,
  highWaterMark,
  signal: check.abortSignal,
};

/** @type {WeakMap<AgentVm, FileBackend>} */
const backends = new WeakMap();

/**
 * Closes the file of a stream that was dropped before its end.
 * @type {FinalizationRegistry<{ backend: FileBackend, opened: OpenedFile }>}
 */
const dropped = new FinalizationRegistry(({ backend, opened }) => backend.close(opened));

/** The file behind a stream. It is opened when the stream is constructed, and closed when the stream is destroyed. */
class StreamFile {
  #backend;
  #open;
  /** @type {OpenedFile | undefined} */
  #opened;
  /** @type {(() => void) | undefined} */
  #unfollow;

  /**
   * @param {FileBackend} backend
   * @param {() => Promise<OpenedFile>} open
   */
  constructor(backend, open) {
    this.#backend = backend;
    this.#open = open;
  }

  get opened() {
    // A stream reads and writes only after it was constructed, but may be destroyed at any time.
    if (this.#opened === undefined) throw invalid("the file of this stream is closed");
    return this.#opened;
  }

  /** @param {Done} done */
  async open(done) {
    try {
      const opened = await this.#open();
      this.#opened = opened;
      dropped.register(this, { backend: this.#backend, opened }, this);
    } catch (error) {
      done(/** @type {Error} */ (error));
      return;
    }
    done();
  }

  /**
   * Destroys the stream when the signal aborts.
   * @param {Readable | Writable} stream
   * @param {AbortSignal | undefined} signal
   */
  follow(stream, signal) {
    if (signal === undefined) return;
    const abort = () => void stream.destroy(aborted(signal));
    if (signal.aborted) abort();
    else this.#unfollow = follow(signal, abort);
  }

  close() {
    this.#unfollow?.();
    if (this.#opened === undefined) return;
    dropped.unregister(this);
    this.#backend.close(this.#opened);
    this.#opened = undefined;
  }
}

/**
 * @param {FileBackend} backend
 * @param {unknown} path
 * @param {unknown} options
 */
function readStreamOf(backend, path, options) {
  const file = check.path("path", path);
  const given = typeof options === "string" ? { __proto__: null, encoding: options } : options;
  const checked = check.members("options", given, reading);
  const { start = 0, end = Number.MAX_SAFE_INTEGER, encoding = "buffer" } = checked;
  if (start > end) throw invalid(`start must not be after end, ${end}, but is ${start}`);
  const streamFile = new StreamFile(backend, () => backend.openToRead(file));
  let position = start;
  let growing = checked.highWaterMark === undefined ? FIRST_READ : 0;
  /** @this {Readable} @param {number} size */
  async function read(size) {
    const length = Math.min(Math.max(size, growing), MOST_AT_ONCE, end - position + 1);
    growing = Math.min(2 * growing, backend.usual);
    try {
      const bytes = length > 0 ? await backend.read(streamFile.opened, position, length) : undefined;
      if (!bytes?.byteLength) return void this.push(null);
      position += bytes.byteLength;
      this.push(bytes);
    } catch (error) {
      this.destroy(/** @type {Error} */ (error));
    }
  }
  const stream = new Readable({
    highWaterMark: checked.highWaterMark ?? FIRST_READ,
    ...(encoding === "buffer" ? {} : { encoding }),
    construct: (done) => void streamFile.open(done),
    read,
    destroy: (error, done) => {
      streamFile.close();
      done(error);
    },
  });
  streamFile.follow(stream, checked.signal);
  return stream;
}

/**
 * @param {FileBackend} backend
 * @param {unknown} path
 * @param {unknown} options
 */
function writeStreamOf(backend, path, options) {
  const file = check.path("path", path);
  const checked = check.members("options", options, writing);
  const { flags = "w", start, mode = 0o666 } = checked;
  const append = flags.startsWith("a");
  if (append && start !== undefined) throw invalid(`start must be absent with flags "${flags}", which append`);
  const how = {
    ...(flags === "r+" ? {} : { create: mode }),
    empty: flags === "w",
    exclusive: flags.endsWith("x"),
    append,
  };
  const streamFile = new StreamFile(backend, () => backend.openToWrite(file, how));
  // What is appended goes to the end of the file, wherever that is.
  let position = append ? undefined : (start ?? 0);
  /** @param {Uint8Array} bytes @param {Done} done */
  const write = async (bytes, done) => {
    try {
      // The stream may be destroyed meanwhile: all parts are for this file.
      const { opened } = streamFile;
      for (let at = 0; at < bytes.byteLength; at += MOST_AT_ONCE) {
        const part = bytes.subarray(at, at + MOST_AT_ONCE);
        await backend.write(opened, part, position);
        if (position !== undefined) position += part.byteLength;
      }
    } catch (error) {
      done(/** @type {Error} */ (error));
      return;
    }
    done();
  };
  const stream = new Writable({
    highWaterMark: checked.highWaterMark ?? backend.usual,
    construct: (done) => void streamFile.open(done),
    write: (chunk, _encoding, done) => void write(chunk, done),
    writev: (chunks, done) => void write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done),
    destroy: (error, done) => {
      streamFile.close();
      done(error);
    },
  });
  streamFile.follow(stream, checked.signal);
  return stream;
}

/**
 * Makes the files of a VM known to `filesOf`.
 * @param {AgentVm} vm
 * @param {import("./calls").Calls} calls
 */
function register(vm, calls) {
  backends.set(vm, {
    usual: MOST_AT_ONCE,
    openToRead: (path) => calls.ask("openToRead", path),
    openToWrite: (path, how) => {
      /** @type {import("./members").Bare<import("../src/addon").WriteStreamOptions>} */
      const options = { ...how, __proto__: null };
      return calls.ask("openToWrite", path, options);
    },
    read: (opened, position, length) => calls.ask("readOpened", Number(opened), position, length),
    write: (opened, bytes, position) => calls.ask("writeOpened", Number(opened), bytes, position),
    close: (opened) => calls.attempt("closeOpened", Number(opened)),
  });
}

/** @param {AgentVm} vm */
function filesOf(vm) {
  // The constructor has registered it.
  return /** @type {FileBackend} */ (backends.get(vm));
}

module.exports = { filesOf, readStreamOf, register, writeStreamOf };
