"use strict";
// Copies of trees between the host and a VM.

const nodePath = require("node:path");

const check = require("./arguments");
const { invalid } = require("./error");
const { inHostDirectory } = require("./host-path");
const { transferOptions } = require("./transfer-options");

/** @import { Calls } from "./calls" */

/**
 * A directory of the host, relative to the server's working directory.
 * @param {unknown} value
 */
function hostPath(value) {
  const path = check.text("hostPath", value);
  if (path === "") throw invalid("hostPath must name a directory of the host, not be empty");
  return nodePath.resolve(path);
}

/**
 * @param {Calls} calls
 * @param {unknown} from
 * @param {unknown} to
 * @param {unknown} options
 */
async function uploadDirectory(calls, from, to, options) {
  const [source, target] = [hostPath(from), check.path("path", to)];
  const { how, signal, onProgress } = transferOptions(options);
  calls.requireVm();
  return inHostDirectory(source, false, (opened) =>
    calls.transfer("uploadDirectory", signal, onProgress, opened, target, native(how, onProgress)),
  );
}

/**
 * @param {Calls} calls
 * @param {unknown} from
 * @param {unknown} to
 * @param {unknown} options
 */
async function downloadDirectory(calls, from, to, options) {
  const [source, target] = [check.path("path", from), hostPath(to)];
  const { how, signal, onProgress } = transferOptions(options);
  calls.requireVm();
  return inHostDirectory(target, true, (opened) =>
    calls.transfer("downloadDirectory", signal, onProgress, source, opened, native(how, onProgress)),
  );
}

/**
 * @param {import("./archives").ArchiveHow} how
 * @param {unknown} onProgress
 * @returns {import("./members").Bare<import("../src/addon").TransferOptions>}
 */
function native(how, onProgress) {
  return { __proto__: null, ...how, progress: onProgress !== undefined };
}

module.exports = { hostPath, uploadDirectory, downloadDirectory };
