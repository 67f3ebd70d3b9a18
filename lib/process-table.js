"use strict";
// Builds process trees from a VM's process table.

/** @import { ProcessInfo, ProcessTreeNode } from "../index" */

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

module.exports = { treesOf };
