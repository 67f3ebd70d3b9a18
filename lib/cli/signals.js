"use strict";
// The signals that end a command and its VM even if the program inside ignores them.

const os = require("node:os");

/** How long a program may take to end after its terminal was closed, or after two signals within AT_ONCE_MS. */
const GRACE_MS = 1000;
/**
 * A second signal within this time may be a copy of the first: npm forwards signals that the terminal also sends to
 * us.
 */
const AT_ONCE_MS = 30;

/**
 * The exit code that a shell reports for a program killed by a signal.
 * @param {NodeJS.Signals} signal
 */
const codeOf = (signal) => 128 + os.constants.signals[signal];

/**
 * Calls `pass` with each of these signals. The promise `ended` resolves to an exit code when everything must end: GRACE_MS
 * after a SIGHUP or after two signals within AT_ONCE_MS, and at the second SIGINT or SIGTERM. The caller calls `lost()` when
 * the terminal is gone without a SIGHUP, which only the first process of its session gets. `exitCode(code)` returns the
 * command's code, or the code for SIGHUP after a hang-up.
 * @param {readonly NodeJS.Signals[]} signals
 * @param {(signal: NodeJS.Signals) => void} pass
 */
function followSignals(signals, pass) {
  let hungUp = false;
  let hangUp = () => {};
  let asked = false;
  let last = -1e9;
  /** @type {Promise<number>} */
  const ended = new Promise((resolve) => {
    hangUp = () => {
      if (!hungUp) setTimeout(resolve, GRACE_MS, codeOf("SIGHUP"));
      hungUp = true;
    };
    for (const signal of signals) {
      process.on(signal, () => {
        if (signal === "SIGINT" || signal === "SIGTERM") {
          const sinceLast = performance.now() - last;
          last += sinceLast;
          if (sinceLast < AT_ONCE_MS) {
            setTimeout(resolve, GRACE_MS, codeOf(signal));
            return;
          }
          if (asked) resolve(codeOf(signal));
          asked = true;
        }
        if (signal === "SIGHUP") hangUp();
        pass(signal);
      });
    }
  });
  const lost = () => {
    hangUp();
    pass("SIGHUP");
  };
  return { ended, lost, exitCode: (/** @type {number} */ code) => (hungUp ? codeOf("SIGHUP") : code) };
}

module.exports = { followSignals };
