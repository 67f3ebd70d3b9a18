"use strict";
// The options that each isolation level cannot provide. Such an option is refused, never ignored.

const defaults = require("../defaults");
const { AgentVmError, invalid } = require("../error");
const { member } = require("../members");

/** @import { CheckedOptions } from "./create" */

const LANDLOCK = {
  __proto__: null,
  rootfs: "the VM sees the host's own root, since nothing can be mounted",
  disk: "the VM's files are in the server's directory for temporary files",
  mounts: "the VM sees the host's own root, since nothing can be mounted",
  directories: "the VM sees the host's own root, since nothing can be mounted",
  home: "the VM's home is a private directory, since nothing can be mounted",
  hostname: "the VM has the host's own name",
  "limits.diskBytes": "the VM's files are in the server's directory for temporary files, and only its size bounds them",
  "limits.terminals": "programs can open no terminal; those of `openShell` are the host's",
};

/**
 * Throws an error with the reason if a level cannot provide one of a VM's options.
 * @param {CheckedOptions} options
 */
function requirePossible(options) {
  if (options.isolation === "landlock") requireUnderLandlock(options);
  if (options.isolation === "none") requireUnderNone(options);
  if (options.host !== undefined && options.rootfs !== undefined) {
    throw invalid("host must not be given with rootfs: such a VM has the settings and data of its own root alone");
  }
}

/** @param {CheckedOptions} options */
function requireUnderLandlock(options) {
  const { limits, network = defaults.network("landlock") } = options;
  requireNoRoot(options, "landlock");
  for (const [name, why] of Object.entries(LANDLOCK)) {
    const isLimit = name.startsWith("limits.");
    const value = isLimit ? member(limits, name.slice("limits.".length)) : member(options, name);
    if (value !== undefined) throw invalid(`${name} needs isolation "namespaces": under "landlock" ${why}`);
  }
  if (network !== "none") {
    throw invalid(
      `network must be "none" under isolation "landlock", or isolation "namespaces": Landlock holds TCP alone, and no address`,
    );
  }
}

/**
 * A root needs a user namespace.
 * @param {CheckedOptions} options
 * @param {string} isolation
 */
function requireNoRoot({ user, ids }, isolation) {
  if (ids !== undefined || (user !== undefined && user !== "user")) {
    const named = ids === undefined ? `user ${JSON.stringify(user)}` : "ids";
    throw invalid(`${named} needs isolation "namespaces": under "${isolation}" the VM has no root of its own`);
  }
}

/**
 * Without namespaces, the VM's processes cannot be counted and bounded, and the VM has no file system of its own.
 * @param {CheckedOptions} options
 */
function requireUnderNone(options) {
  const { rootfs, host, mounts = [], directories = [], network = defaults.network("none"), limits } = options;
  requireNoRoot(options, "none");
  for (const name of ["pids", "diskBytes", "terminals"]) {
    if (member(limits, name) === undefined) continue;
    throw new AgentVmError(
      "ISOLATION_UNAVAILABLE",
      `limits.${name} cannot be enforced with isolation "none". Leave it out, or choose isolation "namespaces"`,
    );
  }
  if (rootfs !== undefined) throw unmounted("rootfs", "none");
  if (options.disk !== undefined) throw unmounted("disk", "none");
  if (host !== undefined) throw unmounted("host", "none");
  if (mounts.length > 0) throw unmounted("mounts", "none");
  if (directories.length > 0) throw unmounted("directories", "none");
  if (network === "public" || typeof network === "object") {
    const named = network === "public" ? 'network "public"' : "network with a list";
    throw invalid(`${named} needs isolation "namespaces": under "none" the VM has no loopback of its own`);
  }
  if (network !== "host") {
    throw invalid('network must be "host", or left out, under isolation "none", which has no walls');
  }
}

/**
 * The same check for packages of the option `software`, after reading them.
 * @param {import("../../index").IsolationLevel} isolation
 * @param {import("./node-modules").Shown} shown
 */
function requireShowable(isolation, { mounts }) {
  if (mounts.length > 0 && isolation !== "namespaces") throw unmounted("software that is npm packages", isolation);
}

/**
 * @param {string} what
 * @param {string} isolation
 */
function unmounted(what, isolation) {
  return invalid(`${what} needs isolation "namespaces": under "${isolation}" the VM sees the host's own root`);
}

module.exports = { requirePossible, requireShowable };
