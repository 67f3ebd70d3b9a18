"use strict";
// Where a VM's own files are: in memory, or in a directory of the host.

const check = require("../arguments");
const { AgentVmError, invalid } = require("../error");
const { member } = require("../members");
const { hostPath } = require("./mounts");

/** @import { Check } from "../arguments" */
/** @import { CheckedOptions } from "./create" */

/**
 * The name of a disk: of a directory.
 * @type {Check<string>}
 */
function diskName(name, value) {
  const text = check.text(name, value);
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(text)) {
    throw invalid(
      `${name} must be 1 to 128 letters, digits, ".", "_" and "-", and begin with a letter, a digit or "_", not ${check.show(value)}`,
    );
  }
  return text;
}

/**
 * "memory" is the same as nothing.
 * @type {Check<import("../members").Bare<{ directory: string, name: string | undefined }> | undefined>}
 */
function disk(name, value) {
  if (value === "memory") return undefined;
  if (typeof value !== "object" || value === null) {
    throw invalid(`${name} must be "memory" or { directory, name }, not ${check.show(value)}`);
  }
  const { directory, name: own } = check.members(name, value, {
    __proto__: null,
    directory: hostPath,
    name: diskName,
  });
  if (directory === undefined) throw invalid(`${name}.directory must be a string, not undefined`);
  return { __proto__: null, directory, name: own };
}

/**
 * Refuses a bound for a disk that this server cannot keep, and no bound for files in memory.
 * @param {CheckedOptions} options
 */
function requireBound({ disk: given, limits, from }) {
  const bytes = member(limits, "diskBytes");
  if (given === undefined) {
    if (bytes === null) throw invalid("limits.diskBytes must be a number for files in memory, not null");
    return;
  }
  if (from !== undefined) throw invalid("from must not be given with disk: snapshots are in memory");
  if (bytes !== null) {
    throw new AgentVmError(
      "ISOLATION_UNAVAILABLE",
      "limits.diskBytes cannot be enforced for a disk in a directory of the host. Set it to null to accept that only the file system's size bounds what the VM writes",
    );
  }
}

/**
 * Refuses a call about snapshots of a VM with a disk.
 * @param {string} call
 * @param {CheckedOptions} options
 */
function requireMemory(call, { disk: given }) {
  if (given === undefined) return;
  throw new AgentVmError(
    "ISOLATION_UNAVAILABLE",
    `${call} needs a VM whose files are in memory (option disk), and those of this one are in ${check.show(given.directory)}`,
  );
}

module.exports = { disk, requireBound, requireMemory };
