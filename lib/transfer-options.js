"use strict";
// The options of the calls that copy trees. It runs in browsers too.

const check = require("./arguments");
const defaults = require("./defaults");
const { invalid } = require("./error");

/** @import { TransferTotals } from "../index" */

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

/** @param {unknown} options */
function transferOptions(options) {
  const checked = check.members("options", options, transferring);
  const { exclude = [], maxBytes = defaults.transfer.maxBytes, maxEntries = defaults.transfer.maxEntries } = checked;
  return { how: { exclude, maxBytes, maxEntries }, signal: checked.signal, onProgress: checked.onProgress };
}

module.exports = { transferOptions };
