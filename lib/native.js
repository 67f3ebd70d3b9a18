"use strict";
// Finds the addon and init (beside this package in a checkout, otherwise in the platform's package), and starts the
// log.

const { GUIDE, bundledError, isBundled } = require("./bundled");
const fs = require("node:fs");
const path = require("node:path");

const { AgentVmError, systemError } = require("./error");

/** @typedef {typeof import("../src/addon")} Addon */

const target = `linux-${process.arch}-gnu`;
const ADDON = `agent-vm.${target}.node`;
const INIT = `agent-vm-init.${target}`;

function load() {
  // Some bundlers remove the variable.
  const directories = typeof __dirname === "string" ? [path.join(__dirname, "..")] : [];
  try {
    directories.push(path.dirname(require.resolve(`agent-vm-${target}/package.json`)));
  } catch {
    // The platform package is not installed, as in a checkout; elsewhere, the error below says what to do.
  }
  const directory = directories.find((candidate) =>
    [ADDON, INIT].every((name) => fs.existsSync(path.join(candidate, name))),
  );
  const supported = process.platform === "linux" && ["x64", "arm64"].includes(process.arch);
  if (supported && directory === undefined && isBundled()) throw bundledError();
  if (!supported || directory === undefined) {
    throw new AgentVmError(
      "ISOLATION_UNAVAILABLE",
      `agent-vm has no binary for ${process.platform}-${process.arch} here. It runs on Linux, x64 and arm64, with glibc. ` +
        `On such a machine run \`npm install agent-vm\` without \`--omit=optional\`, or \`npm run build\` in a checkout. ` +
        `Where a tool has copied node_modules, it must copy agent-vm-${target} as well: ${GUIDE}`,
    );
  }
  const { MessageKind, NativeVm, endTurn, lookAhead, startLog, vmPaths } = loadAddon(path.join(directory, ADDON));
  const log = logLevel();
  if (log !== undefined) startLog(log);
  lookAhead();
  return {
    MessageKind,
    NativeVm,
    endTurn,
    paths: vmPaths(),
    init: path.join(directory, INIT),
    log,
  };
}

/**
 * The error of the kernel or the dynamic loader, for example with another C library.
 * @param {string} file
 * @returns {Addon}
 */
function loadAddon(file) {
  try {
    return require(file);
  } catch (thrown) {
    const cause = systemError(thrown);
    // Bundlers replace `require` by their own function, which finds no files at run time.
    if (cause.code !== "ERR_DLOPEN_FAILED" && isBundled()) throw bundledError(cause);
    throw new AgentVmError(
      "ISOLATION_UNAVAILABLE",
      `agent-vm's binary cannot be loaded: ${cause.message}. It needs glibc, not musl as in Alpine, of version 2.31 or later, ` +
        `and to be whole: install agent-vm again, or \`npm run build\` in a checkout`,
      { cause, path: file },
    );
  }
}

const LEVELS = ["error", "warn", "info", "debug", "trace"];

/** The level in AGENT_VM_LOG; undefined if nothing should be logged. An invalid level must not prevent the start. */
function logLevel() {
  const wish = process.env.AGENT_VM_LOG ?? "";
  if (wish === "" || LEVELS.includes(wish)) return wish || undefined;
  process.emitWarning(`AGENT_VM_LOG takes ${LEVELS.join(", ")}; ${JSON.stringify(wish)} logs nothing`);
  return undefined;
}

module.exports = load();
