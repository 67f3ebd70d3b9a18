"use strict";
// Checks the option `mounts`: host directories and their paths in the VM. The addon finds out whether each can be
// shown.

const nodePath = require("node:path");

const check = require("../arguments");
const { invalid } = require("../error");
const own = require("./own-paths");
const { above, within } = require("./paths");
const { protect } = require("./protect");

/** Paths where no mount may be: the VM has its own files there, or needs what is there. */
const TAKEN = new Set([...own.system, ...above(own.system)]);
/** The maximum number: each needs a descriptor in a message that carries 128. */
const MOUNTS = 100;
/** The kernel's longest path. */
const PATH_BYTES = 4095;

/** @import { Check } from "../arguments" */

/** @typedef {import("../members").Bare<{ path: string, hostPath: string, readOnly: boolean, software: false, protect: string[] }>} CheckedMount */

/**
 * `home` and `rootfs` take the same.
 * @type {Check<string>}
 */
function hostPath(name, value) {
  const file = check.text(name, value);
  if (!nodePath.posix.isAbsolute(file)) {
    throw invalid(`${name} must be an absolute path on the host, not ${check.show(value)}`);
  }
  return file;
}

/**
 * An absolute path in the VM, without double or trailing slashes.
 * @type {Check<string>}
 */
function place(name, value) {
  const names = check
    .path(name, value)
    .split("/")
    .filter((part) => part !== "");
  if (names.some((part) => part === "." || part === "..")) {
    throw invalid(`${name} must be a path without "." and "..", not ${check.show(value)}`);
  }
  const path = `/${names.join("/")}`;
  const bytes = Buffer.byteLength(path);
  if (bytes > PATH_BYTES) throw invalid(`${name} must be a path of at most ${PATH_BYTES} bytes, not ${bytes}`);
  return path;
}

/** @type {Check<string>} */
function mountPoint(name, value) {
  const path = place(name, value);
  if (path === own.home) throw invalid(`${name} must not be ${path}: that is what the option home is for`);
  if (TAKEN.has(path) || own.closed.some((directory) => within(path, directory))) {
    throw invalid(`${name} must be a path that the VM does not provide itself, which ${check.show(path)} is`);
  }
  return path;
}

/** @type {Check<CheckedMount[]>} */
function mounts(name, value) {
  if (!Array.isArray(value))
    throw invalid(`${name} must be an array of { path, hostPath, readOnly, protect }, not ${check.show(value)}`);
  const { length } = value;
  if (length > MOUNTS) throw invalid(`${name} must be at most ${MOUNTS} mounts, not ${length}`);
  const places = new Map();
  return check.each(
    value,
    (item, index) => {
      const here = `${name}[${index}]`;
      const {
        path,
        hostPath: source,
        readOnly = true,
        protect: closed = [],
      } = check.members(here, item ?? null, {
        __proto__: null,
        path: mountPoint,
        hostPath,
        readOnly: check.boolean,
        protect,
      });
      if (path === undefined) throw invalid(`${here}.path must be a string, not undefined`);
      if (source === undefined) throw invalid(`${here}.hostPath must be a string, not undefined`);
      if (places.has(path)) {
        throw invalid(`${here}.path must be another place than ${places.get(path)}'s, ${check.show(path)}`);
      }
      if (readOnly && closed.length > 0) {
        throw invalid(
          `${here}.protect must be left out, or readOnly be false: nothing in a read-only mount is writable`,
        );
      }
      places.set(path, here);
      return { __proto__: null, path, hostPath: source, readOnly, software: false, protect: closed };
    },
    length,
  );
}

module.exports = { hostPath, mounts, place };
