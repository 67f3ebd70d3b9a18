"use strict";

/** Every rejection of this package. Branch on `code`, which is stable. */
class AgentVmError extends Error {
  constructor(code, message, details) {
    super(message, details?.cause === undefined ? undefined : { cause: details.cause });
    this.name = "AgentVmError";
    this.code = code;
    if (details?.errno !== undefined) this.errno = details.errno;
    if (details?.syscall !== undefined) this.syscall = details.syscall;
    if (details?.path !== undefined) this.path = details.path;
  }
}

/** An error as the addon describes it. */
function fromNative(json) {
  const fields = JSON.parse(json);
  return new AgentVmError(fields.code, fields.message, fields);
}

const invalid = (message) => new AgentVmError("INVALID_ARGUMENT", message);
const disposed = () => new AgentVmError("VM_DISPOSED", "The VM is gone: it was disposed, or its init has died");
const aborted = () => new AgentVmError("ABORTED", "The operation was aborted");

module.exports = { AgentVmError, fromNative, invalid, disposed, aborted };
