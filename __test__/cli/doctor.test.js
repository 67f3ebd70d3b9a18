"use strict";
const { agentVm } = require("../fixture/command-line");
const { AgentVm } = require("../..");

test("doctor prints each check, and the level", async () => {
  const { level, checks } = await AgentVm.doctor();
  const { code, stdout } = await agentVm(["doctor"]);
  expect(code).toBe(level === "namespaces" ? 0 : 1);
  for (const { name, detail } of checks) {
    expect(stdout).toContain(name);
    expect(stdout).toContain(detail);
  }
  expect(stdout).toContain(`This host isolates by: ${level}`);
});

test("doctor --json prints what AgentVm.doctor resolves to", async () => {
  expect(JSON.parse((await agentVm(["doctor", "--json"])).stdout)).toEqual(await AgentVm.doctor());
});

test("--help and --version print", async () => {
  const { code, stdout } = await agentVm(["--help"]);
  expect(code).toBe(0);
  for (const word of ["doctor", "run", "shell", "--mount", "--network", "--rootfs", "--limit", "--json"]) {
    expect(stdout).toContain(word);
  }
  expect((await agentVm(["--version"])).stdout.trim()).toBe(require("../../package.json").version);
  expect((await agentVm([])).code).toBe(2);
});
