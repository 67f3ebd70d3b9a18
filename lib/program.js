"use strict";
// The options that exec and spawn have in common, in the form that the addon takes.

const os = require("node:os");

const defaults = require("./defaults");

/** @import { CheckedRun } from "./arguments" */

/**
 * Where a program runs, and how it is ended at its timeout.
 * @param {import("./members").Bare<CheckedRun>} options
 */
function programOptions({ env = [], cwd, argv0, timeout = defaults.timeout, ...kill }) {
  const { SIGKILL, [defaults.killSignal]: asks } = os.constants.signals;
  const { killSignal = kill.killGrace === undefined ? SIGKILL : asks, killGrace = defaults.killGrace } = kill;
  // SIGKILL leaves nothing to wait for.
  return { env, cwd, argv0, timeout, killSignal: killSignal === SIGKILL ? undefined : killSignal, killGrace };
}

module.exports = { programOptions };
