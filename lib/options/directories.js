"use strict";
// What `directories` takes: places for empty, writable directories of the VM's own.

const check = require("../arguments");
const { invalid } = require("../error");
const { place } = require("./mounts");

/** What belongs to the system, or is a private directory already. */
const SYSTEM =
  "/bin /boot /dev /etc /home/user /lib /lib32 /lib64 /libx32 /libo32 /libexec /opt/agent-vm /opt/node /proc /run /sbin /sys /tmp /usr /var".split(
    " ",
  );
/** What holds one of those. */
const ABOVE = new Set(["/", "/home", "/opt"]);
/** Each is a mount of its own. */
const DIRECTORIES = 32;

/**
 * @param {string} path
 * @param {string} top
 */
const isBelow = (path, top) => path === top || path.startsWith(`${top}/`);

/** @type {check.Check<string>} */
function directory(name, value) {
  const path = place(name, value);
  const system = SYSTEM.find((top) => isBelow(path, top));
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
    const other = paths.findIndex((top, at) => at !== index && isBelow(path, top));
    if (other >= 0) {
      throw invalid(
        `${name}[${index}] must not be, or be below, ${name}[${other}], which is ${check.show(paths[other])}`,
      );
    }
  }
  return paths;
}

/**
 * A mount may be below such a directory. One above it or in its place would hide it, or be written to.
 * @param {import("./create").CheckedOptions} options
 */
function requireApart({ directories: paths = [], mounts = [] }) {
  for (const [index, path] of paths.entries()) {
    for (const [at, mount] of mounts.entries()) {
      if (!isBelow(path, mount.path)) continue;
      throw invalid(
        `directories[${index}] must not be, or be below, mounts[${at}].path, which is ${check.show(mount.path)}`,
      );
    }
  }
}

module.exports = { directories, requireApart };
