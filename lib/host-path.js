"use strict";
// Directories of the host that a call names in a directory which VMs can write to. A program there may put a link in the place of
// any name, so none is followed below it: each name is opened in the directory before.

const { constants } = require("node:fs");
const { lstat, mkdir, open, readlink } = require("node:fs/promises");
const nodePath = require("node:path");

const { AgentVmError, systemError } = require("./error");
const { within } = require("./options/paths");
const { writableDirectories } = require("./options/writable");

/** @import { FileHandle } from "node:fs/promises" */

/** The most links on a path, as for the kernel. */
const MOST_LINKS = 40;
/** `O_PATH`, which Node.js does not name: opens a directory without the right to read it. */
const O_PATH = 0o10000000;
const DIRECTORY = constants.O_DIRECTORY | constants.O_NOFOLLOW | O_PATH;

/**
 * Does `work` on a directory of the host, for which it gets a path. The path is `path` itself, unless a VM of this server can write
 * where that leads.
 * @template T
 * @param {string} path Absolute and normal.
 * @param {boolean} create Whether missing directories are made.
 * @param {(path: string) => Promise<T>} work
 */
async function inHostDirectory(path, create, work) {
  const place = await writablePlace(path);
  if (place === undefined) return work(path);
  const directory = await named(path, () => below(place, create));
  const opened = `/proc/self/fd/${directory.fd}`;
  try {
    return await work(opened);
  } catch (thrown) {
    const error = systemError(thrown);
    if (error.path === undefined || !within(error.path, opened)) throw thrown;
    const shown = path + error.path.slice(opened.length);
    error.message = error.message.replace(error.path, () => shown);
    error.path = shown;
    throw error;
  } finally {
    await directory.close();
  }
}

/**
 * The directory that VMs can write to and through which a path leads, and the names below it.
 * @param {string} path
 */
async function writablePlace(path) {
  const writable = writableDirectories();
  if (writable.length === 0) return undefined;
  const names = path.split("/");
  let [at, links] = ["/", 0];
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === "" || name === ".") continue;
    // `at` has no links.
    const next = nodePath.join(at, name);
    if (writable.some((directory) => within(next, directory))) return { directory: next, names };
    const found = await lstat(next).catch(() => undefined);
    // What does not exist belongs to no VM.
    if (found === undefined) return undefined;
    if (!found.isSymbolicLink()) {
      at = next;
      continue;
    }
    // The kernel will say so.
    if (++links > MOST_LINKS) return undefined;
    const target = await readlink(next);
    names.unshift(...target.split("/"));
    if (target.startsWith("/")) at = "/";
  }
  return undefined;
}

/**
 * Opens a directory below one that VMs can write to.
 * @param {{ directory: string, names: string[] }} place
 * @param {boolean} create
 */
async function below({ directory, names }, create) {
  let at = await open(directory, DIRECTORY);
  for (const name of names.filter((each) => each !== "" && each !== ".")) {
    at = await take(at, async ({ fd }) => {
      // Only the target of a link of the host's has it.
      if (name === "..")
        throw Object.assign(new Error("ELOOP: a link leads through a VM's directory"), { code: "ELOOP" });
      const next = `/proc/self/fd/${fd}/${name}`;
      if (create) await mkdir(next).catch(unlessExists);
      return open(next, DIRECTORY);
    });
  }
  return at;
}

/**
 * @param {FileHandle} handle
 * @param {(handle: FileHandle) => Promise<FileHandle>} next
 */
async function take(handle, next) {
  try {
    return await next(handle);
  } finally {
    await handle.close();
  }
}

/** @param {unknown} thrown */
function unlessExists(thrown) {
  if (systemError(thrown).code !== "EEXIST") throw thrown;
}

/**
 * Names the path in the error of a system call on it.
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} call
 */
async function named(path, call) {
  try {
    return await call();
  } catch (thrown) {
    const { code, errno, message, syscall = "open" } = systemError(thrown);
    const what = message.replace(/, \w+ '.*$/s, "");
    throw new AgentVmError(
      /** @type {import("..").AgentVmErrorCode} */ (code),
      `${what}, ${syscall} '${path}'. A VM can write to a directory on the way, so no link below that one is followed`,
      { __proto__: null, errno, syscall, path },
    );
  }
}

module.exports = { inHostDirectory };
