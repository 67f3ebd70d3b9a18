"use strict";

const { AgentVm } = require("../..");
const { print, printJson, visible } = require("./output");

/**
 * Prints the report of `AgentVm.doctor`. The exit code is 0 if VMs get their own namespaces, else 1.
 * @param {import("./options").Values} options
 */
async function doctor({ json }) {
  const { level, checks } = await AgentVm.doctor();
  if (json) {
    printJson({ level, checks });
  } else {
    const width = Math.max(...checks.map(({ name }) => name.length));
    for (const { name, ok, detail, remedy } of checks) {
      print(`${ok ? "ok  " : "MISS"}  ${name.padEnd(width)}  ${visible(detail)}\n`);
      if (!ok && remedy) print(`${" ".repeat(width + 8)}→ ${visible(remedy)}\n`);
    }
    print(`\nThis host isolates by: ${level}\n`);
  }
  return level === "namespaces" ? 0 : 1;
}

module.exports = { doctor };
