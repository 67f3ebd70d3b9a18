"use strict";
// Implements `check: true`: rejects if a command failed.

const { AgentVmError } = require("./error");
const { printable } = require("./printable");

/** @import { AnyExecResult } from "./wire" */

/**
 * How many characters of the end of standard error are searched, and how many of its last line the message may contain.
 */
const [LOOKED_AT, SHOWN] = [4096, 200];

/**
 * Throws COMMAND_FAILED, with the result, if the command did not exit with 0 by itself.
 * @template {AnyExecResult} R
 * @param {R} result
 * @returns {R}
 */
function requireSuccess(result) {
  if (result.exitCode === 0 && !result.timedOut) return result;
  throw new AgentVmError("COMMAND_FAILED", `The command failed: ${endOf(result)}${lastLine(result.stderr)}`, {
    __proto__: null,
    result,
  });
}

/** @param {AnyExecResult} result */
function endOf({ exitCode, signal, reason }) {
  if (reason === "timeout") return "its timeout ended it";
  if (reason === "oom") return "it was killed for lack of memory";
  return signal === null ? `exit code ${exitCode}` : `it was killed by ${signal}`;
}

/** @param {string | Uint8Array} stderr */
function lastLine(stderr) {
  const end = stderr.slice(-LOOKED_AT);
  const text = typeof end === "string" ? end : Buffer.from(end).toString();
  const line = text.trimEnd().split("\n").at(-1) ?? "";
  return line === "" ? "" : `; its last line on stderr is ${printable(JSON.stringify(line.slice(0, SHOWN)))}`;
}

module.exports = { requireSuccess };
