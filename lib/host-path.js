"use strict";
// Paths of the host, for calls and for what a VM shows, that lead through a directory which VMs can write to. A program there may put
// a link in the place of any name, so none is followed below it: each name is opened in the directory before.

const { constants } = require("node:fs");
const { lstat, mkdir, open, readlink } = require("node:fs/promises");
const nodePath = require("node:path");

const { AgentVmError, systemError } = require("./error");
const { within } = require("./options/paths");
const { writableDirectories } = require("./options/writable");

/** @import { FileHandle } from "node:fs/promises" */
/** @import { CheckedOptions } from "./options/create" */

/** The most links on a path, as for the kernel. */
const MOST_LINKS = 40;
/** `O_PATH`, which Node.js does not name: opens a directory without the right to read it. */
const O_PATH = 0o10000000;
const ANYTHING = constants.O_NOFOLLOW | O_PATH;
const DIRECTORY = constants.O_DIRECTORY | ANYTHING;

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
  const directory = await named(path, () => below(place, DIRECTORY, create));
  const opened = `/proc/self/fd/${directory.fd}`;
  try {
    return await work(opened);
  } catch (thrown) {
    rename(systemError(thrown), opened, path);
    throw thrown;
  } finally {
    await directory.close();
  }
}

/**
 * Does `work` with the options of a VM, in which paths that lead through a directory that VMs can write to are those of what was there.
 * @template T
 * @param {CheckedOptions} options
 * @param {(options: CheckedOptions) => Promise<T>} work
 */
async function withShown(options, work) {
  const { home, rootfs, mounts = [] } = options;
  /** @type {[path: string, handle: FileHandle][]} */
  const held = [];
  /** @param {string} path */
  const hold = async (path) => {
    const place = await writablePlace(path);
    // A directory that a VM can write to is where it is, whatever is in it.
    if (place === undefined || place.names.every(isNone)) return path;
    const handle = await named(path, () => below(place, ANYTHING, false));
    held.push([path, handle]);
    if ((await handle.stat()).isSymbolicLink()) throw notFollowed("ENOTDIR", "not a directory", "open", path);
    return `/proc/self/fd/${handle.fd}`;
  };
  try {
    /** @type {CheckedOptions} */
    const shown = { __proto__: null, ...options };
    if (home !== undefined) shown.home = await hold(home);
    if (rootfs !== undefined) shown.rootfs = await hold(rootfs);
    if (mounts.length > 0) {
      const opened = mounts.map(async (mount) => ({
        __proto__: /** @type {null} */ (null),
        ...mount,
        hostPath: await hold(mount.hostPath),
      }));
      await Promise.allSettled(opened);
      shown.mounts = await Promise.all(opened);
    }
    return await work(shown);
  } catch (thrown) {
    for (const [path, { fd }] of held) rename(systemError(thrown), `/proc/self/fd/${fd}`, path);
    throw thrown;
  } finally {
    await Promise.all(held.map(([, handle]) => handle.close()));
  }
}

/**
 * Names a path in an error in place of the one that was opened.
 * @param {import("./error").SystemError} error
 * @param {string} opened
 * @param {string} path
 */
function rename(error, opened, path) {
  if (error.path === undefined || !within(error.path, opened)) return;
  const shown = path + error.path.slice(opened.length);
  error.message = error.message.replace(error.path, () => shown);
  error.path = shown;
}

/** @param {string} name */
const isNone = (name) => name === "" || name === ".";

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
    if (isNone(name)) continue;
    // `at` has no links.
    const next = nodePath.join(at, name);
    const isBack = names.find((each) => !isNone(each)) === "..";
    if (!isBack && writable.some((directory) => within(next, directory))) return { directory: next, names };
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
 * @param {number} flags How the last name is opened.
 * @param {boolean} create
 */
async function below({ directory, names }, flags, create) {
  const wanted = names.filter((name) => !isNone(name));
  let at = await open(directory, wanted.length > 0 ? DIRECTORY : flags);
  for (const [number, name] of wanted.entries()) {
    at = await take(at, async ({ fd }) => {
      // Only the target of a link of the host's has it.
      if (name === "..")
        throw Object.assign(new Error("ELOOP: a link leads through a VM's directory"), { code: "ELOOP" });
      const next = `/proc/self/fd/${fd}/${name}`;
      if (create) await mkdir(next).catch(unlessExists);
      return open(next, number + 1 < wanted.length ? DIRECTORY : flags);
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
    const what = message.replace(/^\w+: /, "").replace(/, \w+ '.*$/s, "");
    throw notFollowed(code, what, syscall, path, errno);
  }
}

/**
 * @param {string} code
 * @param {string} what
 * @param {string} syscall
 * @param {string} path
 * @param {number} [errno]
 */
function notFollowed(code, what, syscall, path, errno) {
  return new AgentVmError(
    /** @type {import("..").AgentVmErrorCode} */ (code),
    `${code}: ${what}, ${syscall} '${path}'. A VM can write to a directory on the way, so no link below that one is followed`,
    { __proto__: null, errno, syscall, path },
  );
}

module.exports = { inHostDirectory, withShown };
