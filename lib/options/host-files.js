"use strict";
// What `host` takes: which of the host's settings and data of installed programs show beyond what does by itself, or do not.

const check = require("../arguments");
const { invalid } = require("../error");
const { place } = require("./mounts");

/** @import { Check } from "../arguments" */

/** Where such files are. */
const TOPS = ["/etc", "/var/lib", "/var/cache", "/opt"];
/** Each is looked for at every `create`. */
const PATHS = 64;

/**
 * @param {string} path
 * @param {string} top
 */
const isBelow = (path, top) => path.startsWith(`${top}/`);

/**
 * A path below /etc, from there or from the root.
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
  if (!TOPS.some((top) => isBelow(path, top))) {
    throw invalid(`${name} must be a path below ${TOPS.join(", ")}, not ${check.show(value)}`);
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
