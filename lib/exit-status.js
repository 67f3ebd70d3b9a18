"use strict";
// How a program ended, as callers are told of it.

const os = require("node:os");

// Where a number has two names, the first is the usual one: SIGABRT, not SIGIOT.
const signalNames = new Map(
  Object.entries(os.constants.signals)
    .reverse()
    .map(([name, number]) => [number, name]),
);

/** An ExitStatus of the addon's values. */
function exitStatus([exitCode, signal, reason, userMs, systemMs, maxRssBytes]) {
  return {
    exitCode,
    signal: signal === 0 ? null : (signalNames.get(signal) ?? `SIG${signal}`),
    reason,
    usage: { userMs, systemMs, maxRssBytes },
  };
}

module.exports = { exitStatus };
