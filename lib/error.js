"use strict";

const { own } = require("./members");

/** @typedef {import("..").AgentVmErrorCode} Code */
/**
 * Members of the error besides its code and message, and its cause. Only own members count.
 * @typedef {import("./members").Bare<
 *   { errno?: number | undefined, syscall?: string | undefined, path?: string | undefined, cause?: unknown }
 * >} Details
 */

/** @type {Details} */
const NO_DETAILS = { __proto__: null };

/** Every rejection of this package. Branch on `code`, which is stable. */
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
    for (const key of ["errno", "syscall", "path"]) {
      const value = own(details, key);
      if (value !== undefined) Reflect.set(this, key, value);
    }
  }
}

/**
 * What a system call of Node.js, or an AgentVmError, failed with: every throw has `message`, the rest where it is known.
 * @typedef {Error & { code: string, errno?: number, syscall?: string, path?: string }} SystemError
 */

/**
 * For `catch` around calls that fail in no other way.
 * @param {unknown} error
 */
function systemError(error) {
  return /** @type {SystemError} */ (error);
}

/** @param {string} message */
const invalid = (message) => new AgentVmError("INVALID_ARGUMENT", message);
const disposed = () => new AgentVmError("VM_DISPOSED", "The VM is gone: it was disposed, or its init has died");
/**
 * The rejection of a call whose AbortSignal aborted; its cause is the signal's reason, as in Node.js.
 * @param {AbortSignal} signal
 */
const aborted = (signal) => new AgentVmError("ABORTED", "The operation was aborted", { cause: signal.reason });

module.exports = { AgentVmError, systemError, invalid, disposed, aborted };
