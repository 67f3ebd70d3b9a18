"use strict";
// File calls that need more than one call of the addon.

const { constants: bufferConstants } = require("node:buffer");
const { randomBytes } = require("node:crypto");

const { AgentVmError, systemError } = require("./error");
const { execText } = require("./exec");

/** @import { NamedEntry, ReadFileResult, WriteFileResult } from "../index" */
/** @import { File, ReadOptions } from "./file-arguments" */
/** @import { Calls } from "./calls" */

/** The number of files that one call reads or writes at the same time. */
const FILES_AT_A_TIME = 16;

/**
 * The results of `work` for all items, in the order of the items.
 * @template T, R
 * @param {readonly T[]} items
 * @param {(item: T) => Promise<R>} work
 */
async function each(items, work) {
  /** @type {R[]} */
  const results = [];
  const entries = items.entries();
  const worker = async () => {
    for (const [index, item] of entries) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(FILES_AT_A_TIME, items.length) }, worker));
  return results;
}

/**
 * The content of a file in the form that the options ask for.
 * @param {Calls} calls
 * @param {string} path
 * @param {ReadOptions} options
 * @returns {Promise<string | Uint8Array>}
 */
async function readFile(calls, path, { maxBytes, encoding, offset, length }) {
  const content = await calls.ask("readFile", path, maxBytes, offset, length);
  if (encoding === "buffer") return content;
  try {
    return content.toString(encoding);
  } catch (cause) {
    throw new AgentVmError(
      "LIMIT_EXCEEDED",
      `${path} is longer than a string can be, ${bufferConstants.MAX_STRING_LENGTH} characters: read it without an encoding, or in parts`,
      { __proto__: null, path, cause },
    );
  }
}

/**
 * @param {Calls} calls
 * @param {readonly string[]} paths
 * @param {ReadOptions} options
 * @returns {Promise<ReadFileResult<string | Uint8Array>[]>}
 */
function readFiles(calls, paths, options) {
  return each(paths, async (path) => {
    try {
      return { path, content: await readFile(calls, path, options) };
    } catch (error) {
      const { code, message } = systemError(error);
      return { path, content: null, error: message, code };
    }
  });
}

/**
 * @param {Calls} calls
 * @param {readonly File[]} entries
 * @returns {Promise<WriteFileResult[]>}
 */
function writeFiles(calls, entries) {
  return each(entries, async ({ path, content, mode, mtime }) => {
    try {
      await calls.ask("writeFile", path, content, mode, mtime);
      return { path, success: true };
    } catch (error) {
      const { code, message } = systemError(error);
      return { path, success: false, error: message, code };
    }
  });
}

/**
 * The entries of a directory with their types.
 * @param {Calls} calls
 * @param {string} directory
 * @returns {Promise<NamedEntry[]>}
 */
async function readdirEntries(calls, directory) {
  const entries = await calls.list("readdirEntries", directory);
  const prefix = directory.endsWith("/") ? directory : `${directory}/`;
  return entries.map(([name, type]) => ({ name, path: `${prefix}${name}`, type }));
}

/** The letters of the names that mkdtemp makes, and how many a name has, as in mkdtemp(3). */
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const NAME_LETTERS = 6;
/** How many names are tried. Only a program inside that guesses makes more than two necessary. */
const NAMES = 100;

/**
 * Creates a directory with a new name.
 * @param {Calls} calls
 * @param {string} prefix
 */
async function mkdtemp(calls, prefix) {
  for (let left = NAMES; ; left--) {
    const letters = Array.from(randomBytes(NAME_LETTERS), (byte) => LETTERS[byte % LETTERS.length]);
    const path = `${prefix}${letters.join("")}`;
    try {
      await calls.ask("mkdir", path, 0o700, false);
      return path;
    } catch (thrown) {
      const error = systemError(thrown);
      if (error.code === "EEXIST" && left > 1) continue;
      if (error.syscall === undefined) throw error;
      const { errno, message } = error;
      throw new AgentVmError(error.code, message, {
        __proto__: null,
        errno,
        syscall: "mkdtemp",
        path: `${prefix}XXXXXX`,
      });
    }
  }
}

/** @param {string} path */
function withoutSlashes(path) {
  let end = path.length;
  while (end > 1 && path[end - 1] === "/") end--;
  return path.slice(0, end);
}

/**
 * @param {Calls} calls
 * @param {string} from
 * @param {string} to
 */
async function move(calls, from, to) {
  try {
    await calls.ask("rename", from, to);
  } catch (thrown) {
    const error = systemError(thrown);
    if (error.code !== "EXDEV") throw error;
    // rename cannot move between mounts: the VM's own mv copies, then deletes, and keeps the metadata that a copy can
    // keep. A trailing slash would make mv follow a link that takes the place of the name.
    const moved = await execText(calls, "mv", ["-f", "-T", "--", withoutSlashes(from), withoutSlashes(to)]);
    if (moved.exitCode !== 0)
      throw new AgentVmError("EXDEV", moved.stderr.trim(), { __proto__: null, ...error, path: from });
  }
}

module.exports = { readFile, readFiles, writeFiles, readdirEntries, mkdtemp, move };
