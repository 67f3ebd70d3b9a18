"use strict";
// Copies for `agent-vm cp`, in the process that has the VM. A connection carries one request, as a line of JSON, and
// then a line for each piece of progress, and the result or the error. Its end aborts the copy.

const fs = require("node:fs/promises");
const path = require("node:path");
const { constants, createReadStream, createWriteStream } = require("node:fs");
const { randomUUID } = require("node:crypto");
const { pipeline } = require("node:stream/promises");

const defaults = require("../defaults");
const { AgentVmError, systemError } = require("../error");
const { readLines } = require("./lines");

/** @import { Socket } from "node:net" */
/** @import { AgentVm, TransferTotals } from "../../index" */

/**
 * What is copied: from `source` to `target`, of which one is a path of the host and the other one of the VM.
 * @typedef {{ direction: "in" | "out", source: string, target: string, contents: boolean, into: boolean, exclude: string[] }} CopyRequest
 */
/** @typedef {{ files: number, bytes: number }} Progress */
/** @typedef {{ total: Progress } | { progress: Progress } | { done: TransferTotals } | { error: { code: string, message: string } }} Message */

const PERMISSIONS = 0o777;
/** The largest file that is copied out: a program inside may have made a hole, which it is no more on the host. */
const LARGEST = defaults.transfer.maxBytes;
/** The most that is copied of a file that reports a size of 0, as those of /proc do. */
const MOST_UNSIZED = 1 << 24;
/** The shortest time between two pieces of progress. */
const PACE_MS = 100;
const HOME = "/home/user";

/**
 * Carries out the request of a connection.
 * @param {AgentVm} vm
 * @param {Socket} connection
 */
async function serve(vm, connection) {
  const gone = new AbortController();
  connection.on("error", () => {}).on("close", () => gone.abort());
  /** @param {Message} message */
  const send = (message) => {
    connection.write(`${JSON.stringify(message)}\n`);
  };
  try {
    const { value } = await readLines(connection.iterator({ destroyOnReturn: false })).next();
    const request = /** @type {CopyRequest} */ (value);
    const copy = request.direction === "in" ? copyIn : copyOut;
    send({ done: await copy(vm, request, send, gone.signal) });
  } catch (thrown) {
    const { code = "ERROR", message } = systemError(thrown);
    send({ error: { code, message } });
  }
  connection.end(() => connection.destroy());
}

/**
 * @param {AgentVm} vm
 * @param {CopyRequest} request
 * @param {(message: Message) => void} send
 * @param {AbortSignal} signal
 */
async function copyIn(vm, request, send, signal) {
  const source = await fs.stat(request.source);
  const inside = path.posix.join(path.isAbsolute(request.target) ? "/" : HOME, request.target);
  const target = place(request, inside, await isDirectory(vm.stat(inside)));
  if (source.isDirectory()) {
    if (request.exclude.length === 0)
      hostTotal(request.source).then(
        (total) => send({ total }),
        () => {},
      );
    return vm.uploadDirectory(await fs.realpath(request.source), target, transfer(request, send, signal));
  }
  refuseOthers(source.isFile(), request);
  const { mode, size, atime, mtime } = source;
  await copyFile(send, size, (counted) =>
    pipeline(createReadStream(request.source), counted, vm.createWriteStream(target, { mode: mode & PERMISSIONS }), {
      signal,
    }),
  );
  await vm.utimes(target, atime, mtime);
  return one(size);
}

/**
 * @param {AgentVm} vm
 * @param {CopyRequest} request
 * @param {(message: Message) => void} send
 * @param {AbortSignal} signal
 */
async function copyOut(vm, request, send, signal) {
  const inside = path.posix.join(path.isAbsolute(request.source) ? "/" : HOME, request.source);
  const source = await vm.stat(inside);
  const target = place(request, request.target, await isDirectory(fs.stat(request.target)));
  if (source.isDirectory) {
    if (request.exclude.length === 0)
      insideTotal(vm, inside).then(
        (total) => send({ total }),
        () => {},
      );
    const from = await vm.realpath(inside);
    /** @param {string} to */
    const download = (to) => vm.downloadDirectory(from, to, transfer(request, send, signal));
    return target === request.target ? download(target) : notThroughLink(target, download);
  }
  refuseOthers((source.mode & 0o170000) === 0o100000, request);
  if (source.size > LARGEST) {
    throw new AgentVmError(
      "LIMIT_EXCEEDED",
      `${inside} has ${source.size} bytes; at most ${LARGEST} are copied of a file`,
    );
  }
  // A program may add to it as fast as it is copied.
  const end = (source.size || MOST_UNSIZED) - 1;
  // Takes its name when it is whole, in place of what has the name: so no link is followed.
  const temporary = path.join(path.dirname(target), `.agent-vm-${randomUUID()}.tmp`);
  try {
    await copyFile(send, source.size, (counted) =>
      pipeline(
        vm.createReadStream(inside, { end }),
        counted,
        createWriteStream(temporary, { flags: "wx", mode: source.mode & PERMISSIONS }),
        { signal },
      ),
    );
    await fs.utimes(temporary, source.atimeMs / 1000, source.mtimeMs / 1000);
    await fs.rename(temporary, target);
  } catch (error) {
    await fs.rm(temporary, { force: true });
    throw error;
  }
  return one(source.size);
}

/**
 * Where the copy goes: a directory gets it under the name of the source.
 * @param {CopyRequest} request
 * @param {string} target
 * @param {boolean} exists Whether the target is a directory.
 */
function place({ source, contents, into }, target, exists) {
  if (contents) return target;
  if (into && !exists) throw new AgentVmError("ENOTDIR", `${target} is no directory`);
  return exists ? path.join(target, path.basename(source)) : target;
}

/**
 * Copies to a directory whose name comes from the VM, as do those that an earlier copy has made: so no link is followed.
 * @template T
 * @param {string} target
 * @param {(opened: string) => Promise<T>} copy
 */
async function notThroughLink(target, copy) {
  const isNew = await fs.mkdir(target).then(
    () => true,
    (error) => {
      if (systemError(error).code !== "EEXIST") throw error;
      return false;
    },
  );
  const directory = await fs.open(target, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  const opened = `/proc/self/fd/${directory.fd}`;
  try {
    return await copy(opened);
  } catch (thrown) {
    const error = systemError(thrown);
    error.message = error.message.replaceAll(opened, target);
    // Unless something has been copied.
    if (isNew) await fs.rmdir(target).catch(() => {});
    throw error;
  } finally {
    await directory.close();
  }
}

/** @param {Promise<{ isDirectory: boolean | (() => boolean) }>} asked */
async function isDirectory(asked) {
  try {
    const found = await asked;
    return typeof found.isDirectory === "function" ? found.isDirectory() : found.isDirectory;
  } catch (error) {
    if (systemError(error).code === "ENOENT") return false;
    throw error;
  }
}

/**
 * @param {boolean} isFile
 * @param {CopyRequest} request
 */
function refuseOthers(isFile, { source }) {
  if (!isFile) throw new AgentVmError("EINVAL", `${source} is neither a file nor a directory`);
}

/**
 * @param {CopyRequest} request
 * @param {(message: Message) => void} send
 * @param {AbortSignal} signal
 */
function transfer({ exclude }, send, signal) {
  /** @param {TransferTotals} totals */
  const onProgress = ({ files, bytes }) => send({ progress: { files, bytes } });
  return { exclude, onProgress, signal };
}

/**
 * Copies a file of that size by `run`, to which it passes what counts the bytes.
 * @param {(message: Message) => void} send
 * @param {number} size
 * @param {(counted: (bytes: AsyncIterable<Buffer>) => AsyncGenerator<Buffer>) => Promise<void>} run
 */
function copyFile(send, size, run) {
  send({ total: { files: 1, bytes: size } });
  let [bytes, told] = [0, 0];
  return run(async function* (source) {
    for await (const piece of source) {
      yield piece;
      bytes += piece.length;
      if (performance.now() - told < PACE_MS) continue;
      told = performance.now();
      send({ progress: { files: 0, bytes } });
    }
  });
}

/** @param {number} bytes */
const one = (bytes) => ({ files: 1, directories: 0, links: 0, bytes, skipped: 0 });

/**
 * @param {string} directory
 * @returns {Promise<Progress>}
 */
async function hostTotal(directory) {
  const total = { files: 0, bytes: 0 };
  for await (const entry of await fs.opendir(directory, { recursive: true })) {
    if (!entry.isFile()) continue;
    total.files++;
    total.bytes += (await fs.lstat(path.join(entry.parentPath, entry.name))).size;
  }
  return total;
}

/**
 * @param {AgentVm} vm
 * @param {string} directory
 * @returns {Promise<Progress>}
 */
async function insideTotal(vm, directory) {
  const files = (await vm.readdirRecursive(directory)).filter(({ type }) => type === "file");
  return { files: files.length, bytes: files.reduce((bytes, { size }) => bytes + size, 0) };
}

module.exports = { serve };
