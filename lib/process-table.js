"use strict";
// Builds process trees and statistics from a VM's process table.

/** @import { ProcessInfo, ProcessTreeNode, VmStats } from "../index" */

/**
 * The processes as trees: each process is below its parent.
 * @param {readonly ProcessInfo[]} processes
 */
function treesOf(processes) {
  /** @type {Map<number, ProcessTreeNode>} */
  const nodes = new Map(processes.map((process) => [process.pid, { ...process, children: [] }]));
  /** @type {ProcessTreeNode[]} */
  const roots = [];
  for (const node of nodes.values()) (nodes.get(node.ppid)?.children ?? roots).push(node);
  return roots;
}

/**
 * The resources that all processes use together, and what the VM has read and written.
 * @param {readonly ProcessInfo[]} processes
 * @param {import("./wire").IoStats} ioStats
 * @returns {VmStats}
 */
function statsOf(processes, [bytesIn, bytesOut, outputsCut]) {
  /** @param {"cpuMs" | "rssBytes"} member */
  const sum = (member) => processes.reduce((total, process) => total + process[member], 0);
  return {
    processes: processes.length,
    cpuMs: sum("cpuMs"),
    memoryBytes: sum("rssBytes"),
    bytesIn,
    bytesOut,
    ...(outputsCut > 0 && { outputsCut }),
  };
}

module.exports = { statsOf, treesOf };
