"use strict";
// Copies of trees between the host and a VM.

const nodePath = require("node:path");

const check = require("./arguments");
const defaults = require("./defaults");
const { invalid } = require("./error");

/** @import { TransferTotals } from "../index" */
/** @import { Calls } from "./calls" */

const bound = check.integer(0, Number.MAX_SAFE_INTEGER);

/** @type {import("./arguments").Check<(totals: TransferTotals) => void>} */
function onProgress(name, value) {
  if (typeof value !== "function") throw invalid(`${name} must be a function, not ${check.show(value)}`);
  // The function's own parameters cannot be checked.
  return /** @type {(totals: TransferTotals) => void} */ (value);
}

const transferring = {
  __proto__: /** @type {null} */ (null),
  exclude: check.texts,
  maxBytes: bound,
  maxEntries: bound,
  onProgress,
  signal: check.abortSignal,
};

/**
 * A directory of the host, relative to the server's working directory.
 * @param {unknown} value
 */
function hostPath(value) {
  const path = check.text("hostPath", value);
  if (path === "") throw invalid("hostPath must name a directory of the host, not be empty");
  return nodePath.resolve(path);
}

/** @param {unknown} options */
function read(options) {
  const checked = check.members("options", options, transferring);
  const { exclude = [], maxBytes = defaults.transfer.maxBytes, maxEntries = defaults.transfer.maxEntries } = checked;
  /** @type {import("./members").Bare<import("../src/addon").TransferOptions>} */
  const how = { __proto__: null, exclude, maxBytes, maxEntries, progress: checked.onProgress !== undefined };
  return { how, signal: checked.signal, onProgress: checked.onProgress };
}

/**
 * @param {Calls} calls
 * @param {unknown} from
 * @param {unknown} to
 * @param {unknown} options
 */
async function uploadDirectory(calls, from, to, options) {
  const [source, target] = [hostPath(from), check.path("path", to)];
  const { how, signal, onProgress } = read(options);
  calls.requireVm();
  return calls.transfer("uploadDirectory", signal, onProgress, source, target, how);
}

/**
 * @param {Calls} calls
 * @param {unknown} from
 * @param {unknown} to
 * @param {unknown} options
 */
async function downloadDirectory(calls, from, to, options) {
  const [source, target] = [check.path("path", from), hostPath(to)];
  const { how, signal, onProgress } = read(options);
  calls.requireVm();
  return calls.transfer("downloadDirectory", signal, onProgress, source, target, how);
}

module.exports = { uploadDirectory, downloadDirectory };
