"use strict";
// Checks of the file calls' arguments, in the form of lib/arguments.js.

const { types } = require("node:util");

const check = require("./arguments");
const defaults = require("./defaults");
const { invalid } = require("./error");

/** @import { Bare } from "./members" */
/** @template T @typedef {import("./arguments").Check<T>} Check */

/** The largest time that the kernel takes, about: file systems cut later times off. In seconds. */
const LATEST = 2 ** 53 / 1000;

/**
 * Numbers of bytes and positions.
 * @type {Check<number>}
 */
const bytes = check.integer(0, Number.MAX_SAFE_INTEGER);

/**
 * A character encoding of Node.js, or "buffer" for bytes.
 * @type {Check<BufferEncoding | "buffer">}
 */
function encoding(name, value) {
  if (value === "buffer") return value;
  if (typeof value !== "string" || !Buffer.isEncoding(value)) {
    throw invalid(`${name} must be "buffer" or an encoding of Node.js, like "utf8", not ${check.show(value)}`);
  }
  return value;
}

/** The type of a file and all bits beside: the mode of an lstat. */
const WITH_TYPE = 0o177777;
const WITHOUT_TYPE = 0o7777;

/**
 * Bits of a mode up to `most`: a number, or octal digits in a string. The type in the mode of a stat is left out.
 * @param {number} most
 * @returns {Check<number>}
 */
function bits(most) {
  return (name, value) => {
    const number = typeof value === "string" && /^[0-7]{1,6}$/.test(value) ? Number.parseInt(value, 8) : value;
    const isMode = typeof number === "number" && Number.isInteger(number) && number >= 0 && number <= WITH_TYPE;
    if (!isMode || (number & WITHOUT_TYPE) > most) {
      const octal = `0o${most.toString(8)}`;
      throw invalid(
        `${name} must be a number from 0 to ${octal}, or octal digits in a string like "755", not ${check.show(value)}`,
      );
    }
    return number & WITHOUT_TYPE;
  };
}

/** Permissions, with the set-user-id, set-group-id and sticky bits. */
const mode = bits(0o7777);
/** The permissions with which a file is made. */
const permissions = bits(0o777);

/**
 * A time as milliseconds since the Unix epoch, from a Date or from seconds.
 * @type {Check<number>}
 */
function time(name, value) {
  const milliseconds = types.isDate(value) ? Date.prototype.getTime.call(value) : fromSeconds(value);
  if (!Number.isFinite(milliseconds) || Math.abs(milliseconds) > LATEST * 1000) {
    throw invalid(`${name} must be a Date, or a number of seconds since the Unix epoch, not ${check.show(value)}`);
  }
  return milliseconds;
}

/**
 * Rounded to microseconds: a double has not many more digits for the seconds of today, and a whole number of milliseconds
 * stays one.
 * @param {unknown} value
 */
function fromSeconds(value) {
  return typeof value === "number" ? Math.round(value * 1e6) / 1e3 : Number.NaN;
}

const read = {
  __proto__: /** @type {null} */ (null),
  maxBytes: check.integer(0, defaults.maxFileBytes),
  encoding,
  offset: bytes,
  length: bytes,
};

/** @typedef {{ maxBytes: number, offset: number | undefined, length: number | undefined, encoding: BufferEncoding | "buffer" }} ReadOptions */

/**
 * What a call reads, and in which form: an encoding, or options.
 * @param {unknown} value
 * @returns {ReadOptions}
 */
function readOptions(value) {
  const options = typeof value === "string" ? { __proto__: null, encoding: encoding("encoding", value) } : value;
  const given = check.members("options", options, read);
  const { maxBytes = defaults.maxFileBytes, encoding: form = "buffer", offset, length } = given;
  return { maxBytes, encoding: form, offset, length };
}

/** @typedef {Bare<{ path: string, content: Uint8Array, mode: number | undefined, mtime: number | undefined }>} File */

const attributes = { __proto__: /** @type {null} */ (null), mode, mtime: time };
const copy = {
  __proto__: /** @type {null} */ (null),
  recursive: check.boolean,
  force: check.boolean,
  errorOnExist: check.boolean,
  preserveTimestamps: check.boolean,
};
const append = { __proto__: /** @type {null} */ (null), mode: permissions };

/**
 * Files to write: each has a path, its content as bytes, and attributes.
 * @type {Check<File[]>}
 */
function files(name, value) {
  if (!Array.isArray(value)) throw invalid(`${name} must be an array of { path, content }, not ${check.show(value)}`);
  return check.each(value, (entry, index) => {
    const given = check.members(`${name}[${index}]`, entry, {
      ...attributes,
      __proto__: null,
      path: check.path,
      content: check.data,
    });
    const { path, content } = given;
    if (path === undefined) throw invalid(`${name}[${index}].path must be a string, not undefined`);
    if (content === undefined)
      throw invalid(`${name}[${index}].content must be a string or a Uint8Array, not undefined`);
    return { __proto__: null, path, content, mode: given.mode, mtime: given.mtime };
  });
}

module.exports = { append, attributes, bytes, copy, encoding, files, mode, permissions, readOptions, time };
