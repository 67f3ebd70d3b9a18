"use strict";

const { own } = require("./members");

/** @typedef {import("..").AgentVmErrorCode} Code */
/**
 * The error's members besides code, message and cause. Only own members are copied.
 * @typedef {import("./members").Bare<
 *   { errno?: number | undefined, syscall?: string | undefined, path?: string | undefined, truncatedBytes?: number, result?: unknown, cause?: unknown }
 * >} Details
 */

/** @type {Details} */
const NO_DETAILS = { __proto__: null };

/** The error that every call of this package rejects with. Branch on `code`, which is stable. */
class AgentVmError extends Error {
  /**
   * @param {Code} code
   * @param {string} message
   * @param {Details} details
   */
  constructor(code, message, details = NO_DETAILS) {
    const cause = own(details, "cause");
    super(message, cause === undefined ? undefined : { cause });
    this.name = "AgentVmError";
    this.code = code;
    for (const key of ["errno", "syscall", "path", "truncatedBytes", "result"]) {
      const value = own(details, key);
      if (value !== undefined) Reflect.set(this, key, value);
    }
  }
}

/**
 * The members of an error from a Node.js system call, or of an AgentVmError. Only `message` is always there.
 * @typedef {Error & { code: string, errno?: number, syscall?: string, path?: string }} SystemError
 */

/**
 * For a `catch` around calls that throw only such errors.
 * @param {unknown} error
 */
function systemError(error) {
  return /** @type {SystemError} */ (error);
}

/** @param {string} message */
const invalid = (message) => new AgentVmError("INVALID_ARGUMENT", message);
const disposed = () => new AgentVmError("VM_DISPOSED", "The VM is gone: it was disposed, or its init has died");
/**
 * The error of a call whose AbortSignal aborted. Its cause is the signal's reason, as in Node.js.
 * @param {AbortSignal} signal
 */
const aborted = (signal) => new AgentVmError("ABORTED", "The operation was aborted", { cause: signal.reason });

module.exports = { AgentVmError, systemError, invalid, disposed, aborted };
