"use strict";
// Tar archives of directories of a VM, in this server or in an actor's. Each piece is a call, made when there is room for it.

const { Readable } = require("node:stream");
const { types } = require("node:util");

const check = require("./arguments");
const { follow } = require("./abort");
const { aborted, invalid } = require("./error");
const { transferOptions } = require("./transfer-options");

/** @import { AgentVm, TransferTotals } from "../index" */
/** @typedef {import("./archives").ArchiveBackend} ArchiveBackend */
/** @typedef {import("./file-streams").OpenedFile} OpenedFile */

/** The bytes that a stream holds, and the most that one call sends. */
const HIGH_WATER = 256 * 1024;
const MOST_AT_ONCE = 1024 * 1024;
/** The shortest time between two reports of progress, in milliseconds. */
const INTERVAL = 100;

/** @type {WeakMap<AgentVm, ArchiveBackend>} */
const backends = new WeakMap();

/**
 * Closes the archive of a stream that was dropped before its end.
 * @type {FinalizationRegistry<{ backend: ArchiveBackend, opened: OpenedFile }>}
 */
const dropped = new FinalizationRegistry(({ backend, opened }) => backend.close(opened));

/** An open archive, from its first call to its last. */
class OpenArchive {
  #backend;
  /** @type {OpenedFile | undefined} */
  #opened;
  #closed = false;
  /** @type {Promise<void> | undefined} */
  #opening;
  #onProgress;
  #last = 0;

  /**
   * @param {ArchiveBackend} backend
   * @param {((totals: TransferTotals) => void) | undefined} onProgress
   */
  constructor(backend, onProgress) {
    this.#backend = backend;
    this.#onProgress = onProgress;
  }

  /**
   * @param {string} path
   * @param {boolean} write
   * @param {import("./archives").ArchiveHow} how
   */
  open(path, write, how) {
    this.#opening = this.#open(path, write, how);
    return this.#opening;
  }

  /**
   * @param {string} path
   * @param {boolean} write
   * @param {import("./archives").ArchiveHow} how
   */
  async #open(path, write, how) {
    const opened = await this.#backend.open(path, write, how);
    if (this.#closed) {
      await this.#backend.close(opened);
      return;
    }
    this.#opened = opened;
    dropped.register(this, { backend: this.#backend, opened }, this);
  }

  get opened() {
    if (this.#opened === undefined) throw invalid("the archive of this stream is closed");
    return this.#opened;
  }

  read() {
    return this.#backend.read(this.opened);
  }

  /** @param {Uint8Array} piece */
  write(piece) {
    return this.#backend.write(this.opened, piece);
  }

  end() {
    return this.#backend.end(this.opened);
  }

  totals() {
    return this.#backend.totals(this.opened);
  }

  /** Reports the progress, unless that was just done. */
  async report(isLast = false) {
    const now = performance.now();
    if (!this.#onProgress || (!isLast && now - this.#last < INTERVAL)) return;
    this.#last = now;
    this.#onProgress(await this.totals());
  }

  /** Resolves when nothing is read or written any more, for archives of this machine. */
  async close() {
    this.#closed = true;
    if (this.#opened === undefined) {
      // Its error is that of `open`.
      await this.#opening?.catch(() => {});
      return;
    }
    dropped.unregister(this);
    const opened = this.#opened;
    this.#opened = undefined;
    await this.#backend.close(opened);
  }
}

/**
 * @param {ArchiveBackend} backend
 * @param {unknown} path
 * @param {unknown} options
 */
function readArchiveOf(backend, path, options) {
  const directory = check.path("path", path);
  const { how, signal, onProgress } = transferOptions(options);
  const archive = new OpenArchive(backend, onProgress);
  /** @type {(() => void) | undefined} */
  let unfollow;
  /** @param {(error?: Error | null) => void} done */
  async function construct(done) {
    try {
      await archive.open(directory, false, how);
    } catch (error) {
      done(/** @type {Error} */ (error));
      return;
    }
    done();
  }
  /** @this {Readable} */
  async function read() {
    try {
      const piece = await archive.read();
      await archive.report(piece.byteLength === 0);
      this.push(piece.byteLength === 0 ? null : piece);
    } catch (error) {
      this.destroy(/** @type {Error} */ (error));
    }
  }
  const stream = new Readable({
    highWaterMark: HIGH_WATER,
    construct: (done) => void construct(done),
    read,
    destroy: (error, done) => {
      unfollow?.();
      archive.close();
      done(error);
    },
  });
  if (signal?.aborted) stream.destroy(aborted(signal));
  else if (signal) unfollow = follow(signal, () => void stream.destroy(aborted(signal)));
  return stream;
}

/**
 * @param {ArchiveBackend} backend
 * @param {unknown} path
 * @param {unknown} from
 * @param {unknown} options
 */
async function writeArchiveOf(backend, path, from, options) {
  const directory = check.path("path", path);
  const pieces = piecesOf(from);
  const { how, signal, onProgress } = transferOptions(options);
  if (signal?.aborted) throw aborted(signal);
  // Its error is this call's, even before the first piece is asked for: without a listener it would end the process.
  if (from instanceof Readable) from.on("error", () => {});
  const archive = new OpenArchive(backend, onProgress);
  const abort = () => {
    archive.close();
    // A source that waits for more would never notice.
    if (from instanceof Readable) from.destroy();
  };
  /** @type {(() => void) | undefined} */
  let unfollow;
  const send = async () => {
    await archive.open(directory, true, how);
    for await (const piece of pieces) {
      if (!types.isUint8Array(piece)) throw invalid(`archive must bring Uint8Arrays, not ${check.show(piece)}`);
      for (let at = 0; at < piece.byteLength; at += MOST_AT_ONCE) {
        await archive.write(piece.subarray(at, at + MOST_AT_ONCE));
        await archive.report();
      }
    }
    await archive.end();
    await archive.report(true);
    return archive.totals();
  };
  try {
    if (!signal) return await send();
    /** @type {Promise<never>} */
    const whenAborted = new Promise((_, reject) => {
      unfollow = follow(signal, () => {
        abort();
        reject(aborted(signal));
      });
    });
    // A source that brings nothing more must not hold the call up.
    return await Promise.race([send(), whenAborted]);
  } catch (error) {
    throw signal?.aborted ? aborted(signal) : error;
  } finally {
    unfollow?.();
    archive.close();
  }
}

/**
 * @param {unknown} from
 * @returns {AsyncIterable<unknown>}
 */
function piecesOf(from) {
  if (typeof from !== "object" || from === null || !(Symbol.asyncIterator in from)) {
    throw invalid(
      `archive must be a Readable or another asynchronous iterable of Uint8Arrays, not ${check.show(from)}`,
    );
  }
  return /** @type {AsyncIterable<unknown>} */ (from);
}

/**
 * Makes the archives of a VM known to `archivesOf`.
 * @param {AgentVm} vm
 * @param {import("./calls").Calls} calls
 */
function register(vm, calls) {
  backends.set(vm, {
    open: async (path, write, how) => {
      /** @type {import("./members").Bare<import("../src/addon").TransferOptions>} */
      const options = { __proto__: null, ...how, progress: false };
      return calls.ask("openArchive", path, write, options);
    },
    read: (opened) => calls.ask("readArchive", Number(opened)),
    write: (opened, piece) => calls.ask("writeArchive", Number(opened), piece),
    end: (opened) => calls.ask("endArchive", Number(opened)),
    totals: (opened) => calls.askJson("archiveTotals", Number(opened)),
    close: (opened) => calls.attempt("closeArchive", Number(opened)),
  });
}

/** @param {AgentVm} vm */
function archivesOf(vm) {
  // The constructor has registered it.
  return /** @type {ArchiveBackend} */ (backends.get(vm));
}

module.exports = { OpenArchive, archivesOf, readArchiveOf, register, writeArchiveOf };
