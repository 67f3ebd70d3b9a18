"use strict";
// The signals that end a command together with its VM, though a program inside ignores them.

const os = require("node:os");

/** How long a program has to end by itself after its terminal was closed, or after two signals at once. */
const GRACE_MS = 1000;
/** A second signal within this time may be the first one again: npm passes on what the terminal has sent already. */
const AT_ONCE_MS = 30;

/**
 * The exit code of a shell for a program that a signal ended.
 * @param {NodeJS.Signals} signal
 */
const codeOf = (signal) => 128 + os.constants.signals[signal];

/**
 * Calls `pass` with each of these signals. The promise `ended` resolves to an exit code when all has to end: a second after
 * a SIGHUP or after two signals at once, and at the second SIGINT or SIGTERM. `lost()` is for a terminal that is gone without a
 * signal, which only the first process of its session gets. `exitCode(code)` is the command's, which a SIGHUP decides.
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
