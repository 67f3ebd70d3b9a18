"use strict";
// Commands that run to their end in one call.

const { aborted } = require("./error");
const defaults = require("./defaults");
const { programOptions } = require("./program");
const { commandLine } = require("./wire");

/** @import { CheckedExec } from "./arguments" */

/**
 * How many bytes to keep of the beginning and of the end of each stream.
 * @param {Pick<CheckedExec, "maxOutputBytes" | "keepOutput">} options
 */
function keptBytes({ maxOutputBytes = defaults.maxOutputBytes, keepOutput = defaults.keepOutput }) {
  switch (keepOutput) {
    case "head":
      return { headBytes: maxOutputBytes, tailBytes: 0 };
    case "tail":
      return { headBytes: 0, tailBytes: maxOutputBytes };
    case "ends":
      return { headBytes: Math.ceil(maxOutputBytes / 2), tailBytes: Math.floor(maxOutputBytes / 2) };
  }
}

/**
 * Runs a program and resolves when it has ended.
 * @param {import("./calls").Calls} calls
 * @param {string} program
 * @param {readonly string[]} args
 * @param {import("./members").Bare<CheckedExec>} options
 */
function exec(calls, program, args, options) {
  const { stdin, signal, onStdout, onStderr, encoding } = options;
  calls.requireVm();
  if (signal?.aborted) throw aborted(signal);
  const streams = onStdout !== undefined || onStderr !== undefined;
  /** @type {import("./members").Bare<import("../src/addon").ExecOptions>} */
  const request = {
    __proto__: null,
    ...programOptions(options),
    ...keptBytes(options),
    bytes: encoding === "buffer",
    streams,
  };
  return calls.exec(commandLine(program, args), request, stdin, signal, onStdout, onStderr);
}

/**
 * As `exec`, without options: its output is text.
 * @param {import("./calls").Calls} calls
 * @param {string} program
 * @param {readonly string[]} args
 */
async function execText(calls, program, args) {
  const result = await exec(calls, program, args, { __proto__: null });
  return /** @type {import("../index").ExecResult} */ (result);
}

module.exports = { exec, execText, keptBytes };
