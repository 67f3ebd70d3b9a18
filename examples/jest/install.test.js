"use strict";
// Tests code in a VM with jest: each test gets its own machine within milliseconds, and may break it.
// Run it with `npx jest --config examples/jest/jest.config.js`.

const { AgentVm } = require("agent-vm");

let vm;
beforeEach(async () => {
  vm = await AgentVm.create({ mounts: [{ path: "/src", hostPath: __dirname }] });
});
afterEach(() => vm.dispose());

test("a fresh machine gets the command, on its PATH", async () => {
  const installed = await vm.exec("sh /src/install.sh");
  expect(installed).toMatchObject({ exitCode: 0, stdout: "installed in /home/user/.local\n", stderr: "" });
  expect((await vm.exec("greet jest")).stdout).toBe("hello, jest\n");
});

test("a second installation is refused, and changes nothing", async () => {
  await vm.exec("sh /src/install.sh");
  const before = await vm.stat("/home/user/.local/bin/greet");
  expect(await vm.exec("sh /src/install.sh")).toMatchObject({ exitCode: 3, stderr: "greet is installed already\n" });
  expect(await vm.stat("/home/user/.local/bin/greet")).toEqual(before);
});

test("it installs into the given directory", async () => {
  await vm.exec("sh /src/install.sh /tmp/elsewhere");
  expect(await vm.exists("/tmp/elsewhere/bin/greet")).toBe(true);
  expect(await vm.exists("/home/user/.local/bin/greet")).toBe(false);
});

test("it cannot change the sources, whatever it tries", async () => {
  const { exitCode } = await vm.exec("rm -f /src/install.sh || echo x >> /src/install.sh");
  expect(exitCode).not.toBe(0);
});
