"use strict";
// Detects whether the terminal that this process was started on is still open.

const tty = require("node:tty");

const STANDARD = [0, 1, 2];
const had = STANDARD.filter((fd) => tty.isatty(fd));

/**
 * Whether a standard stream was a terminal that has since been closed. The kernel no longer reports a closed one as a
 * terminal.
 */
function isTerminalGone() {
  return had.some((fd) => !tty.isatty(fd));
}

/**
 * Ends this process with the exit code.
 * @param {number} exitCode
 */
function leave(exitCode) {
  if (isTerminalGone()) {
    // Node.js aborts on exit if it cannot restore a terminal's mode. A shell reports 129 for this end.
    process.removeAllListeners("SIGHUP");
    process.kill(process.pid, "SIGHUP");
  }
  process.exit(exitCode);
}

module.exports = { isTerminalGone, leave };
