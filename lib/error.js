"use strict";

const { own } = require("./members");

const NO_DETAILS = { __proto__: null };

/** Every rejection of this package. Branch on `code`, which is stable. */
class AgentVmError extends Error {
  constructor(code, message, details = NO_DETAILS) {
    const cause = own(details, "cause");
    super(message, cause === undefined ? undefined : { cause });
    this.name = "AgentVmError";
    this.code = code;
    for (const key of ["errno", "syscall", "path"]) {
      const value = own(details, key);
      if (value !== undefined) this[key] = value;
    }
  }
}

/** An error as the addon describes it. */
function fromNative(json) {
  const fields = JSON.parse(json);
  return new AgentVmError(fields.code, fields.message, fields);
}

const invalid = (message) => new AgentVmError("INVALID_ARGUMENT", message);
const disposed = () => new AgentVmError("VM_DISPOSED", "The VM is gone: it was disposed, or its init has died");
/** The rejection of a call whose AbortSignal aborted; its cause is the signal's reason, as in Node.js. */
const aborted = (signal) => new AgentVmError("ABORTED", "The operation was aborted", { cause: signal.reason });

module.exports = { AgentVmError, fromNative, invalid, disposed, aborted };
