"use strict";
// What the addon is asked to boot: the checked options, with what is not said in them.

const { json } = require("../members");
const { init, log } = require("../native");
const { requireShowable } = require("./levels");

/** The request as the addon reads it. `shown` is what the option `software` needs to be mounted. */
function bootRequest(options, shown = { __proto__: null, mounts: [], bins: [] }) {
  const {
    rootfs,
    home,
    env = [],
    hostname = "agent-vm",
    isolation = "namespaces",
    limits = { __proto__: null },
  } = options;
  const { mounts = [], directories = [], network = isolation === "none" ? "host" : "none" } = options;
  const { pids = 4096, openFiles = 4096, diskBytes = 2 ** 30, replayBytes = 2 ** 20, memoryBytes, cpus } = limits;
  const { terminals = 64 } = limits;
  requireShowable(isolation, shown);
  return json({
    init,
    node: process.execPath,
    isolation,
    hostname,
    rootfs,
    home,
    mounts: [...mounts, ...shown.mounts],
    directories,
    bins: shown.bins,
    network,
    env,
    limits: { pids, openFiles, diskBytes, terminals, replayBytes, memoryBytes, cpus },
    log,
  });
}

module.exports = { bootRequest };
