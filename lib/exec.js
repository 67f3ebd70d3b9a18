"use strict";
// Commands that run to their end in one call.

const check = require("./arguments");
const { aborted } = require("./error");
const defaults = require("./defaults");
const { commandLine } = require("./wire");

/**
 * Runs a program and resolves when it has ended. Throws if an option is invalid.
 * @param {import("./calls").Calls} calls
 * @param {string} program
 * @param {readonly string[]} args
 * @param {unknown} [options]
 */
function exec(calls, program, args, options) {
  const checked = check.members("options", options, check.exec);
  const { env, cwd, stdin, signal, onStdout, onStderr } = checked;
  const { timeout = defaults.timeout, maxOutputBytes = defaults.maxOutputBytes } = checked;
  calls.requireVm();
  if (signal?.aborted) throw aborted(signal);
  const streams = onStdout !== undefined || onStderr !== undefined;
  /** @type {import("./members").Bare<import("../src/addon").ExecOptions>} */
  const request = { __proto__: null, env, cwd, timeout, maxOutputBytes, streams };
  return calls.exec(commandLine(program, args), request, stdin, signal, onStdout, onStderr);
}

module.exports = { exec };
