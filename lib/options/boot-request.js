"use strict";
// What the addon is asked to boot: the checked options, with what is not said in them.

const { init, log } = require("../native");
const { json } = require("../wire");
const { requireShowable } = require("./levels");

/** @import { Bare } from "../members" */
/** @import { BootRequest, Json } from "../wire" */

/** @type {Bare<import("./node-modules").Shown>} */
const NOTHING = { __proto__: null, mounts: [], bins: [] };
/** @type {Bare<NonNullable<import("./create").CheckedOptions["limits"]>>} */
const NO_LIMITS = { __proto__: null };

/**
 * The request as the addon reads it. `node` is what `serverNode` found, `shown` what the option `software` needs to be mounted.
 * @param {import("./create").CheckedOptions} options
 * @param {string | undefined} node
 * @returns {Json<BootRequest>}
 */
function bootRequest(options, node, shown = NOTHING) {
  const { rootfs, home, host, env = [], hostname = "agent-vm", isolation = "namespaces", limits = NO_LIMITS } = options;
  const { mounts = [], directories = [], network = isolation === "none" ? "host" : "none" } = options;
  const { pids = 4096, openFiles = 4096, diskBytes = 2 ** 30, replayBytes = 2 ** 20, memoryBytes, cpus } = limits;
  const { terminals = 64 } = limits;
  requireShowable(isolation, shown);
  return json({
    init,
    node,
    isolation,
    hostname,
    rootfs,
    home,
    mounts: [...mounts, ...shown.mounts],
    directories,
    host,
    bins: shown.bins,
    network,
    env,
    limits: { pids, openFiles, diskBytes, terminals, replayBytes, memoryBytes, cpus },
    log,
  });
}

module.exports = { bootRequest };
