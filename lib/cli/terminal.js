"use strict";
// Whether the terminal that this process was started on is still there.

const tty = require("node:tty");

const STANDARD = [0, 1, 2];
const had = STANDARD.filter((fd) => tty.isatty(fd));

/** Whether a standard stream was a terminal, and that terminal was closed. A closed one is no terminal to the kernel. */
function isTerminalGone() {
  return had.some((fd) => !tty.isatty(fd));
}

/**
 * Ends this process with that exit code.
 * @param {number} exitCode
 */
function leave(exitCode) {
  if (isTerminalGone()) {
    // Node.js aborts at an exit where it cannot give a terminal its old mode back. A shell calls this end 129.
    process.removeAllListeners("SIGHUP");
    process.kill(process.pid, "SIGHUP");
  }
  process.exit(exitCode);
}

module.exports = { isTerminalGone, leave };
