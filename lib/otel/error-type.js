"use strict";
// The attribute `error.type` of what has ended. There are few values: the codes of errors, the reasons of ends, and exit codes.

/** @import { AgentVmDiagnostic } from "../../index" */

/**
 * Undefined for a success.
 * @param {AgentVmDiagnostic} message
 */
function errorType({ error, exitCode, reason }) {
  if (error !== undefined) {
    const { code, name } = /** @type {{ code?: unknown, name?: unknown }} */ (Object(error));
    if (typeof code === "string") return code;
    return typeof name === "string" ? name : "_OTHER";
  }
  if (reason !== undefined && reason !== "exited") return reason;
  return exitCode === undefined || exitCode === 0 ? undefined : String(exitCode);
}

exports.errorType = errorType;
