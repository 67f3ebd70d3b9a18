"use strict";
// How a program ended, as callers are told of it.

const os = require("node:os");

// Where a number has two names, the first is the usual one: SIGABRT, not SIGIOT.
const signalNames = new Map(
  Object.entries(os.constants.signals)
    .reverse()
    .map(([name, number]) => [number, name]),
);

/** A signal's name by its number; null for 0. */
function signalName(signal) {
  return signal === 0 ? null : (signalNames.get(signal) ?? `SIG${signal}`);
}

/** An ExitStatus of the addon's values. */
function exitStatus([exitCode, signal, reason, userMs, systemMs, maxRssBytes]) {
  return {
    exitCode,
    signal: signalName(signal),
    reason,
    usage: { userMs, systemMs, maxRssBytes },
  };
}

module.exports = { exitStatus, signalName };
