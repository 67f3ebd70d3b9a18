"use strict";
// Checks the option `mounts[].protect`: places inside a writable mount that stay read-only.

const check = require("../arguments");
const { invalid } = require("../error");
const { within } = require("./paths");

/** The maximum number for one mount. Each place costs a mount, and so does each directory above it. */
const PLACES = 64;
/** The kernel's longest path, and its longest name. */
const PATH_BYTES = 4095;
const NAME_BYTES = 255;

/** @import { Check } from "../arguments" */
/** @import { CheckedMount } from "./mounts" */

/**
 * A path below the mount with single slashes; one at the end means a directory.
 * @type {Check<string>}
 */
function place(name, value) {
  const text = check.text(name, value);
  const names = text.split("/").filter((part) => part !== "");
  if (text.startsWith("/") || names.length === 0 || names.some((part) => part === "." || part === "..")) {
    throw invalid(
      `${name} must be a path below the mount, like ".git/hooks", without "." and "..", not ${check.show(value)}`,
    );
  }
  const path = names.join("/");
  if (names.some((part) => Buffer.byteLength(part) > NAME_BYTES) || Buffer.byteLength(path) > PATH_BYTES) {
    throw invalid(`${name} must be a path of at most ${PATH_BYTES} bytes, in names of at most ${NAME_BYTES}`);
  }
  return text.endsWith("/") ? `${path}/` : path;
}

/** The path without a slash at the end. @param {string} path */
const bare = (path) => (path.endsWith("/") ? path.slice(0, -1) : path);

/**
 * The places in their order, without those that are below another one.
 * @type {Check<string[]>}
 */
function protect(name, value) {
  if (!Array.isArray(value)) {
    throw invalid(`${name} must be an array of paths below the mount, not ${check.show(value)}`);
  }
  const { length } = value;
  if (length > PLACES) throw invalid(`${name} must be at most ${PLACES} paths, not ${length}`);
  const places = check.each(value, (item, index) => place(`${name}[${index}]`, item), length);
  return places.filter((path, at) =>
    places.every((other, index) => {
      if (index === at) return true;
      if (bare(other) === bare(path)) return other === path ? index > at : !other.endsWith("/");
      return !within(bare(path), bare(other));
    }),
  );
}

/**
 * What another option shows at a protected place, or between the mount and the place, would hide the place; below it,
 * it would be writable there.
 * @param {import("./create").CheckedOptions} options
 */
function requireUncovered({ mounts = [] }) {
  for (const [index, mount] of mounts.entries()) {
    for (const path of mount.protect) {
      const full = `${mount.path}/${bare(path)}`;
      const at = mounts.findIndex((other) => {
        const hides = other.path !== mount.path && within(other.path, mount.path) && within(full, other.path);
        return hides || within(other.path, full);
      });
      if (at < 0) continue;
      throw invalid(
        `mounts[${at}].path must not be ${check.show(mounts[at]?.path)}: that is at, above or below ${check.show(full)}, ` +
          `which mounts[${index}] protects`,
      );
    }
  }
}

module.exports = { protect, requireUncovered };
