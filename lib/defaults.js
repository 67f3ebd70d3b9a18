"use strict";
// The default values of all options. index.d.ts documents them; the addon has no defaults.

/** @typedef {import("../index").IsolationLevel} IsolationLevel */

module.exports = {
  /** @type {IsolationLevel} */
  isolation: "namespaces",
  hostname: "agent-vm",
  /**
   * The network that programs can reach. Without isolation, only the host's network is possible.
   * @param {IsolationLevel} isolation
   */
  network: (isolation) => (isolation === "none" ? "host" : "none"),
  limits: { pids: 4096, openFiles: 4096, diskBytes: 2 ** 30, terminals: 64, replayBytes: 2 ** 20 },
  /** In milliseconds; 0 means no timeout. */
  timeout: 0,
  /** For a `killGrace` without a `killSignal`. */
  killSignal: /** @type {const} */ ("SIGTERM"),
  /** In milliseconds, for a `killSignal` without a `killGrace`. */
  killGrace: 5000,
  /** Of `watchStats`, in milliseconds. */
  statsInterval: 1000,
  maxOutputBytes: 16 * 2 ** 20,
  /** @type {NonNullable<import("../index").ExecOptions["keepOutput"]>} */
  keepOutput: "head",
  /** The largest Buffer that every supported version of Node.js allows. */
  maxFileBytes: 0x7fffffff,
  transfer: { maxBytes: 16 * 2 ** 30, maxEntries: 4_000_000 },
  terminal: { cols: 80, rows: 24, type: "xterm-256color" },
  /** The programs of `openShell`: `other` is used if the VM lacks `preferred`. */
  shells: { preferred: "bash", other: { program: "sh", path: "/bin/sh" } },
};
