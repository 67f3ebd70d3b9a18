"use strict";
// Servers of their own, for tests about how a server ends.

const { spawn } = require("node:child_process");
const path = require("node:path");
const readline = require("node:readline");

const root = path.join(__dirname, "..");
const children = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/**
 * Runs `source` in a Node.js of its own, with `AgentVm` and the like at hand, and await at its top. Returns the child with
 * `line()`, which resolves to the next line it prints, and `ended`, to `{ code, signal, stdout, stderr }`.
 */
function nodeScript(source, { flags = [], env = {} } = {}) {
  const whole = `
    const { AgentVm, AgentVmError } = require(${JSON.stringify(root)});
    (async () => { ${source} })();`;
  const child = spawn(process.execPath, [...flags, "-e", whole], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  const lines = [];
  let stderr = "";
  child.stderr.on("data", (data) => (stderr += data));
  const reader = readline.createInterface({ input: child.stdout });
  const printed = [];
  reader.on("line", (line) => {
    printed.push(line);
    lines.shift()?.(line);
  });
  const ended = new Promise((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, stdout: printed.join("\n"), stderr }));
  });
  let read = 0;
  const line = () => {
    const index = read++;
    if (index < printed.length) return Promise.resolve(printed[index]);
    const next = new Promise((resolve) => {
      lines.push(resolve);
    });
    return Promise.race([
      next,
      ended.then(({ code, signal }) => {
        if (index < printed.length) return printed[index];
        throw new Error(`ended before it printed that line: code ${code}, ${signal}: ${stderr}`);
      }),
    ]);
  };
  return { child, line, ended };
}

module.exports = { nodeScript, root };
