"use strict";
const { nodeScript } = require("./node-script");
const { AgentVm } = require("..");

test("doctor tells the level and every probe, with a remedy where one is missing", async () => {
  const { level, checks } = await AgentVm.doctor();
  // Where this fails, nothing else can be tested: its checks say why.
  expect({ level, checks }).toMatchObject({ level: "namespaces" });
  expect(checks.length).toBeGreaterThan(2);
  for (const { name, ok, detail, remedy, ...rest } of checks) {
    expect(rest).toEqual({});
    expect([typeof name, typeof ok, typeof detail]).toEqual(["string", "boolean", "string"]);
    expect(detail.length).toBeGreaterThan(5);
    expect(ok ? "none needed" : remedy).toEqual(expect.stringMatching(/.{10}/));
  }
  expect(new Set(checks.map(({ name }) => name)).size).toBe(checks.length);
});

test("doctor leaves no process and no VM behind", async () => {
  const { stdout } = await nodeScript(`
    const { descendants } = require(${JSON.stringify(require.resolve("./host-processes"))});
    await AgentVm.doctor();
    await Promise.all([AgentVm.doctor(), AgentVm.doctor()]);
    console.log(descendants(process.pid).length);`).ended;
  expect(stdout).toBe("0");
});
