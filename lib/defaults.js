"use strict";
// What holds where a caller says nothing. index.d.ts documents these values; the addon has none of its own.

/** @typedef {import("../index").IsolationLevel} IsolationLevel */

module.exports = {
  /** @type {IsolationLevel} */
  isolation: "namespaces",
  hostname: "agent-vm",
  /**
   * What programs can reach. Without isolation there is no other network than the host's.
   * @param {IsolationLevel} isolation
   */
  network: (isolation) => (isolation === "none" ? "host" : "none"),
  limits: { pids: 4096, openFiles: 4096, diskBytes: 2 ** 30, terminals: 64, replayBytes: 2 ** 20 },
  /** Milliseconds: none. */
  timeout: 0,
  maxOutputBytes: 16 * 2 ** 20,
  /** The most that one Buffer holds on every Node.js that is supported. */
  maxFileBytes: 0x7fffffff,
  terminal: { cols: 80, rows: 24, type: "xterm-256color" },
  /** The programs of `openShell`: the second where the VM has no first. */
  shells: { preferred: "bash", other: { program: "sh", path: "/bin/sh" } },
};
