"use strict";
// File calls that need more than one call of the addon.

const { AgentVmError, systemError } = require("./error");
const { execText } = require("./exec");

/** @import { ReadFileResult, WriteFileResult } from "../index" */
/** @import { File } from "./arguments" */
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
 * @param {Calls} calls
 * @param {readonly string[]} paths
 * @param {number} maxBytes
 * @returns {Promise<ReadFileResult[]>}
 */
function readFiles(calls, paths, maxBytes) {
  return each(paths, async (path) => {
    try {
      return { path, content: await calls.ask("readFile", path, maxBytes) };
    } catch (error) {
      return { path, content: null, error: systemError(error).message };
    }
  });
}

/**
 * @param {Calls} calls
 * @param {readonly File[]} entries
 * @returns {Promise<WriteFileResult[]>}
 */
function writeFiles(calls, entries) {
  return each(entries, async ({ path, content }) => {
    try {
      await calls.ask("writeFile", path, content);
      return { path, success: true };
    } catch (error) {
      return { path, success: false, error: systemError(error).message };
    }
  });
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

module.exports = { readFiles, writeFiles, move };
