"use strict";
// Checks the options of `create`. Nothing here looks at the host: a valid path need not exist.

const check = require("../arguments");
const { invalid } = require("../error");
const { directories, requireApart } = require("./directories");
const { disk, requireBound } = require("./disk");
const { hostFiles } = require("./host-files");
const { requirePossible } = require("./levels");
const { hostPath, mounts } = require("./mounts");
const { network } = require("./network");
const { requireUncovered } = require("./protect");
const { packagesOf } = require("./software");
const { optionsOf, requireFitting, snapshotId } = require("../snapshots");

/** @import { Check, Checked } from "../arguments" */

/** @typedef {import("../members").Bare<Checked<typeof OPTIONS>>} CheckedOptions */

/**
 * Labels of letters, digits and hyphens, together at most 64 bytes, as the kernel and resolvers accept (hostname(7)).
 * @type {Check<string>}
 */
function hostname(name, value) {
  const label = /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;
  const host = check.text(name, value);
  if (host.length > 64 || !host.split(".").every((part) => label.test(part))) {
    throw invalid(
      `${name} must be labels of letters, digits and hyphens, 64 characters at most, not ${check.show(value)}`,
    );
  }
  return host;
}

/**
 * A number of processor cores. The kernel's minimum is a hundredth of one.
 * @type {Check<number>}
 */
function cores(name, value) {
  if (typeof value !== "number" || !(value >= 0.01 && value <= 8192)) {
    throw invalid(`${name} must be a number of cores from 0.01 to 8192, not ${check.show(value)}`);
  }
  return value;
}

const OPTIONS = {
  __proto__: /** @type {null} */ (null),
  rootfs: hostPath,
  mounts,
  disk,
  directories,
  home: hostPath,
  host: hostFiles,
  software: packagesOf,
  env: check.env,
  hostname,
  network,
  /**
   * @param {string} name
   * @param {unknown} value
   */
  limits: (name, value) =>
    check.members(name, value, {
      __proto__: null,
      memoryBytes: check.integer(4_194_304, Number.MAX_SAFE_INTEGER),
      cpus: cores,
      pids: check.integer(2, 4_194_304),
      openFiles: check.integer(16, 1_048_576),
      diskBytes: check.orNull(check.integer(1_048_576, Number.MAX_SAFE_INTEGER)),
      terminals: check.integer(1, 4096),
      replayBytes: check.integer(0, 1_073_741_824),
    }),
  isolation: check.oneOf("namespaces", "landlock", "none"),
  user: check.user,
  from: snapshotId,
  ids: check.oneOf("single", "range"),
};

/**
 * The options that were given, in the form that the addon takes; with `from`, also those of the VM that the snapshot was made of.
 * @param {unknown} options
 */
function checkOptions(options) {
  const given = check.members("options", options, OPTIONS);
  const { from } = given;
  /** @type {CheckedOptions} */
  const checked = from === undefined ? given : over(optionsOf(from), given);
  requirePossible(checked);
  requireBound(checked);
  requireApart(checked);
  requireUncovered(checked);
  return checked;
}

/**
 * The options of a VM over a snapshot.
 * @param {CheckedOptions} ofSnapshot Those of the VM that the snapshot was made of.
 * @param {CheckedOptions} given
 * @returns {CheckedOptions}
 */
function over(ofSnapshot, given) {
  const defined = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  /** @type {CheckedOptions} */
  const both = { ...ofSnapshot, ...defined, __proto__: null };
  requireFitting(both, ofSnapshot);
  return both;
}

module.exports = { checkOptions };
