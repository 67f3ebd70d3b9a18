"use strict";
// Checks the option `host`: host settings and program data to show in addition to the default ones, or to hide.

const check = require("../arguments");
const { invalid } = require("../error");
const { place } = require("./mounts");
const own = require("./own-paths");

/** @import { Check } from "../arguments" */

/** The maximum number; every `create` looks each path up. */
const PATHS = 64;

/**
 * @param {string} path
 * @param {string} top
 */
const isBelow = (path, top) => path.startsWith(`${top}/`);

/**
 * Resolves a path below /etc that is relative to /etc or absolute.
 * @type {Check<string>}
 */
function inEtc(name, value) {
  const text = check.text(name, value);
  const path = place(name, text.startsWith("/") ? text : `/etc/${text}`);
  if (!isBelow(path, "/etc")) {
    throw invalid(`${name} must be a file or directory below /etc, like "gitconfig", not ${check.show(value)}`);
  }
  return path;
}

/** @type {Check<string>} */
function hidden(name, value) {
  const path = place(name, value);
  if (!own.hostFiles.some((top) => isBelow(path, top))) {
    throw invalid(`${name} must be a path below ${own.hostFiles.join(", ")}, not ${check.show(value)}`);
  }
  return path;
}

/**
 * @param {Check<string>} checkPath
 * @returns {Check<string[]>}
 */
function paths(checkPath) {
  return (name, value) => {
    if (!Array.isArray(value)) throw invalid(`${name} must be an array of paths, not ${check.show(value)}`);
    const { length } = value;
    if (length > PATHS) throw invalid(`${name} must be at most ${PATHS} paths, not ${length}`);
    return [...new Set(check.each(value, (item, index) => checkPath(`${name}[${index}]`, item), length))];
  };
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function hostFiles(name, value) {
  return check.members(name, value, { __proto__: null, etc: paths(inEtc), hide: paths(hidden) });
}

module.exports = { hostFiles };
