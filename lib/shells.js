"use strict";
// Shells, as far as there is something to decide before one is opened.

const { words } = require("./arguments");
const { json } = require("./members");

/**
 * Opens a shell, and resolves to its id: the `command` of the checked options, or bash where the VM has it, else sh. `vmEnv`
 * is the environment of the VM, as it was asked for.
 */
async function openShell(calls, vmEnv, options) {
  if (options.command !== undefined) return open(calls, vmEnv, options);
  try {
    return await open(calls, vmEnv, { __proto__: null, ...options, command: "bash" });
  } catch (error) {
    if (error.code !== "ENOENT" || error.path !== "bash") throw error;
    const env = [["SHELL", "/bin/sh"], ...(options.env ?? [])];
    return open(calls, vmEnv, { __proto__: null, ...options, command: "sh", env });
  }
}

function open(calls, vmEnv, { command, args = [], env = [], ...rest }) {
  const terminal = vmEnv.some(([name]) => name === "TERM") ? [] : [["TERM", "xterm-256color"]];
  const message = json({ ...rest, env: [...terminal, ...env] });
  return calls.begin("openShell", undefined, words(command, args), message);
}

module.exports = { openShell };
