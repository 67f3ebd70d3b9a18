"use strict";
const os = require("node:os");
const { rejection } = require("../fixture/promises");
const { boot } = require("../fixture/vm");
const { AgentVm } = require("../..");

test.each([
  ["home", { home: os.tmpdir() }],
  ["mounts", { mounts: [{ path: "/data", hostPath: os.tmpdir() }] }],
  ["rootfs", { rootfs: "/" }],
  ["hostname", { hostname: "other" }],
  ["limits.diskBytes", { limits: { diskBytes: 1_048_576 } }],
])("%s, which it cannot give, is refused with the reason and not ignored", async (name, options) => {
  const error = await rejection(AgentVm.create({ isolation: "landlock", ...options }));
  expect(error.code).toBe("INVALID_ARGUMENT");
  expect(error.message).toContain(`${name} needs isolation "namespaces"`);
});

test("env, limits.openFiles and limits.replayBytes are as elsewhere", async () => {
  const vm = await boot({ isolation: "landlock", env: { SAID: "so" }, limits: { openFiles: 99, replayBytes: 0 } });
  expect(await vm.exec("echo $SAID; ulimit -n")).toMatchObject({ stdout: "so\n99\n" });
  const { pid } = await vm.spawn("echo", ["123456"]);
  await vm.waitProcess(pid);
  expect((await vm.readProcessOutput(pid)).truncatedBytes).toBe(7);
});
