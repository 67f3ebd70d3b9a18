"use strict";
// The VM of `run` and `shell`. With a name, `agent-vm cp` reaches it.

const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");

const { AgentVm } = require("../..");
const { within } = require("../options/paths");
const { COPIES, checkName, claimName, directoryOfNames, placeOfNames } = require("./names");
const { createOptions, usage } = require("./options");

/** @param {import("./options").Values} options */
async function namedVm(options) {
  const create = createOptions(options);
  const name = options.name === undefined ? undefined : checkName(options.name);
  if (name !== undefined) directoryOfNames();
  refuseNames(create);
  if (name === undefined) return AgentVm.create(create);
  const vm = await AgentVm.create(create);
  try {
    const server = net.createServer((connection) => require("./copy").serve(vm, connection));
    server.maxConnections = COPIES;
    process.once("exit", await claimName(name, server));
  } catch (error) {
    await vm.dispose();
    throw error;
  }
  return vm;
}

/**
 * Refuses to show the sockets to a program inside, which could copy from the host through them.
 * @param {import("../../index").AgentVmOptions} options
 */
function refuseNames({ home, rootfs, mounts = [] }) {
  if (!fs.existsSync(placeOfNames())) return;
  const names = fs.realpathSync(placeOfNames());
  const shown = [home, rootfs, ...mounts.map(({ hostPath }) => hostPath)];
  for (const each of shown) {
    if (each === undefined || !fs.existsSync(each)) continue;
    const real = fs.realpathSync(path.resolve(each));
    if (within(names, real) || within(real, names)) {
      throw usage(
        `${each} contains ${names}, from where named VMs are reached: it must not be shown; show a part of it, or set XDG_RUNTIME_DIR to another place`,
      );
    }
  }
}

module.exports = { namedVm };
