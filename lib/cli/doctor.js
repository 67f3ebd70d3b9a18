"use strict";

const { AgentVm } = require("../..");

/** Prints what `AgentVm.doctor` found. The exit code is 0 where VMs get namespaces of their own, else 1. */
async function doctor({ json }) {
  const { level, checks } = await AgentVm.doctor();
  if (json) {
    process.stdout.write(`${JSON.stringify({ level, checks }, null, 2)}\n`);
  } else {
    const width = Math.max(...checks.map(({ name }) => name.length));
    for (const { name, ok, detail, remedy } of checks) {
      process.stdout.write(`${ok ? "ok  " : "MISS"}  ${name.padEnd(width)}  ${detail}\n`);
      if (!ok && remedy) process.stdout.write(`${" ".repeat(width + 8)}→ ${remedy}\n`);
    }
    process.stdout.write(`\nThis host isolates by: ${level}\n`);
  }
  return level === "namespaces" ? 0 : 1;
}

module.exports = { doctor };
