"use strict";
// One-shot commands.

const check = require("./arguments");
const { aborted } = require("./error");
const { json, commandLine } = require("./wire");

/**
 * Runs a program; resolves when it has ended. Throws what is wrong with the options.
 * @param {import("./calls").Calls} calls
 * @param {string} program
 * @param {readonly string[]} args
 * @param {unknown} [options]
 */
function exec(calls, program, args, options) {
  const checked = check.members("options", options, check.exec);
  const { env, cwd, stdin, timeout, maxOutputBytes, signal, onStdout, onStderr } = checked;
  calls.requireVm();
  if (signal?.aborted) throw aborted(signal);
  const streams = onStdout !== undefined || onStderr !== undefined;
  const rest = options === undefined ? undefined : json({ env, cwd, timeout, maxOutputBytes, streams });
  return calls.exec(commandLine(program, args), rest, stdin, signal, onStdout, onStderr);
}

module.exports = { exec };
