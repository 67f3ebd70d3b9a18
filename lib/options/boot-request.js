"use strict";
// Builds the addon's boot request from the checked options and the defaults.

const defaults = require("../defaults");
const { init, log } = require("../native");
const { idsOf } = require("./ids");
const { requireShowable } = require("./levels");

/** @import { BootRequest, HostFilesRequest, LimitRequest } from "../../src/addon" */
/** @import { Bare } from "../members" */
/** @import { CheckedOptions } from "./create" */

/** @type {Bare<import("./node-modules").Shown>} */
const NOTHING = { __proto__: null, mounts: [], bins: [] };

/**
 * The boot request in the addon's form. `node` is the result of `serverNode`; `shown` are the mounts for the option
 * `software`.
 * @param {CheckedOptions} options
 * @param {string | undefined} node
 * @returns {Bare<BootRequest>}
 */
function bootRequest(options, node, shown = NOTHING) {
  const { rootfs, home, host, env = [], hostname = defaults.hostname, isolation = defaults.isolation } = options;
  const { user, disk } = options;
  const { mounts = [], directories = [], network = defaults.network(isolation) } = options;
  requireShowable(isolation, shown);
  return {
    __proto__: null,
    init,
    node,
    isolation,
    hostname,
    rootfs,
    home,
    disk,
    mounts: [...mounts, ...shown.mounts],
    directories,
    host: hostFilesOf(host),
    bins: shown.bins,
    network: typeof network === "object" ? "list" : network,
    allow: typeof network === "object" ? network.allow : [],
    env,
    limits: limitsOf(options.limits),
    log,
    ids: idsOf(options),
    user,
  };
}

/**
 * @param {CheckedOptions["limits"]} given
 * @returns {Bare<LimitRequest>}
 */
function limitsOf(given) {
  const diskBytes = given?.diskBytes ?? defaults.limits.diskBytes;
  return { __proto__: null, memoryBytes: undefined, cpus: undefined, ...defaults.limits, ...given, diskBytes };
}

/**
 * @param {CheckedOptions["host"]} given
 * @returns {Bare<HostFilesRequest>}
 */
function hostFilesOf(given) {
  return { __proto__: null, etc: [], hide: [], ...given };
}

module.exports = { bootRequest };
