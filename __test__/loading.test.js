"use strict";
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { root } = require("./fixture/project");

const node = (args, options) => execFileSync(process.execPath, args, { encoding: "utf8", ...options });
const use = `const vm = await AgentVm.create(); process.stdout.write((await vm.exec("echo hello")).stdout); await vm.dispose();`;

test("the directory can be required", () => {
  const script = `const { AgentVm, AgentVmError } = require(${JSON.stringify(root)}); (async () => { ${use} console.log(AgentVmError.name); })();`;
  expect(node(["-e", script])).toBe("hello\nAgentVmError\n");
});

describe("as a package in node_modules", () => {
  let directory;

  beforeAll(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-loading-"));
    fs.mkdirSync(path.join(directory, "node_modules"));
    fs.symlinkSync(root, path.join(directory, "node_modules/agent-vm"));
  });

  afterAll(() => {
    fs.rmSync(directory, { recursive: true });
  });

  test("it can be imported by name from an ES module", () => {
    fs.writeFileSync(path.join(directory, "use.mjs"), `import { AgentVm } from "agent-vm"; ${use}`);
    expect(node(["use.mjs"], { cwd: directory })).toBe("hello\n");
  });

  test("it has a default export, and can be imported later", () => {
    const script = `import whole from "agent-vm"; const { AgentVm } = await import("agent-vm");
      console.log(whole.AgentVm === AgentVm); ${use}`;
    fs.writeFileSync(path.join(directory, "default.mjs"), script);
    expect(node(["default.mjs"], { cwd: directory })).toBe("true\nhello\n");
  });

  test("it can be required by name, twice, from two copies of the module", () => {
    const script = `const one = require("agent-vm");
      for (const name of Object.keys(require.cache)) if (name.endsWith(".js")) delete require.cache[name];
      const two = require("agent-vm");
      console.log(one === two);
      for (const { AgentVm } of [one, two]) AgentVm.create().then(async (vm) => {
        process.stdout.write((await vm.exec("echo hello")).stdout); await vm.dispose(); });`;
    expect(node(["-e", script], { cwd: directory })).toBe("false\nhello\nhello\n");
  });
});
