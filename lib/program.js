"use strict";
// The options that exec and spawn have in common, in the form that the addon takes.

const os = require("node:os");

const defaults = require("./defaults");

/** @import { CheckedRun } from "./arguments" */

/**
 * Where a program runs, and how it is ended at its timeout.
 * @param {import("./members").Bare<CheckedRun>} options
 */
function programOptions({ env = [], cwd, argv0, user, timeout = defaults.timeout, killSignal, killGrace }) {
  const { SIGKILL, [defaults.killSignal]: asks } = os.constants.signals;
  const first = killSignal ?? (killGrace === undefined ? SIGKILL : asks);
  return {
    env,
    cwd,
    argv0,
    user,
    timeout,
    // SIGKILL leaves nothing to wait for.
    killSignal: first === SIGKILL ? undefined : first,
    killGrace: killGrace ?? defaults.killGrace,
  };
}

module.exports = { programOptions };
