"use strict";
// Checks the option `directories`: paths of empty, writable directories in the VM.

const check = require("../arguments");
const { invalid } = require("../error");
const { place } = require("./mounts");
const own = require("./own-paths");
const { above, within } = require("./paths");

/** Directories of the system, and directories that are private already. */
const SYSTEM = [...own.system, "/boot", ...own.writable];
/** Directories that contain one of those. */
const ABOVE = above(SYSTEM);
/** The maximum number; each is a mount. */
const DIRECTORIES = 32;

/** @type {check.Check<string>} */
function directory(name, value) {
  const path = place(name, value);
  const system = SYSTEM.find((top) => within(path, top));
  if (ABOVE.has(path) || system !== undefined) {
    throw invalid(
      `${name} must be a place of its own, like "/workspace", not ${check.show(path)}, which belongs to the system` +
        (system === undefined ? "" : `'s ${system}`),
    );
  }
  return path;
}

/** @type {check.Check<string[]>} */
function directories(name, value) {
  if (!Array.isArray(value)) throw invalid(`${name} must be an array of absolute paths, not ${check.show(value)}`);
  const { length } = value;
  if (length > DIRECTORIES) throw invalid(`${name} must be at most ${DIRECTORIES} directories, not ${length}`);
  const paths = check.each(value, (item, index) => directory(`${name}[${index}]`, item), length);
  for (const [index, path] of paths.entries()) {
    const other = paths.findIndex((top, at) => at !== index && within(path, top));
    if (other >= 0) {
      throw invalid(
        `${name}[${index}] must not be, or be below, ${name}[${other}], which is ${check.show(paths[other])}`,
      );
    }
  }
  return paths;
}

/**
 * A mount may be below such a directory. A mount at the directory or above it would hide the directory, or be written
 * to.
 * @param {import("./create").CheckedOptions} options
 */
function requireApart({ directories: paths = [], mounts = [] }) {
  for (const [index, path] of paths.entries()) {
    for (const [at, mount] of mounts.entries()) {
      if (!within(path, mount.path)) continue;
      throw invalid(
        `directories[${index}] must not be, or be below, mounts[${at}].path, which is ${check.show(mount.path)}`,
      );
    }
  }
}

module.exports = { directories, requireApart };
