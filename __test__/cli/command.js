"use strict";

const { spawn } = require("node:child_process");
const path = require("node:path");

const program = path.join(__dirname, "../../bin/agent-vm.js");

/** Runs the command; resolves to `{ code, stdout, stderr }`. `child` is its process meanwhile. */
function agentVm(args, { input = "", env = {} } = {}) {
  const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, ...env } });
  const printed = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"])
    child[stream].setEncoding("utf8").on("data", (data) => (printed[stream] += data));
  child.stdin.on("error", () => {}).end(input);
  const ended = new Promise((resolve) => {
    child.on("close", (code) => resolve({ code, ...printed }));
  });
  return Object.assign(ended, { child, printed });
}

module.exports = { agentVm, program };
