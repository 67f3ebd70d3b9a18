"use strict";
const { descendants, running } = require("./host-processes");
const { boot, rejection, until } = require("./fixture");
const { AgentVm } = require("..");

/** Boots a VM, and finds its init on the host: the one new child of this process. */
async function bootWithInit() {
  const before = new Set(descendants(process.pid).map(({ pid }) => pid));
  const vm = await boot();
  const [init] = descendants(process.pid).filter(({ pid, ppid }) => ppid === process.pid && !before.has(pid));
  return { vm, init };
}

test("a VM whose init is killed ends with reason died; pending calls reject, and the server goes on", async () => {
  const { vm, init } = await bootWithInit();
  const exits = [];
  vm.on("processExit", ({ reason, exitCode }) => exits.push([reason, exitCode]));
  const exit = new Promise((resolve) => {
    vm.on("exit", (event) => {
      exits.push("exit");
      resolve(event);
    });
  });
  await vm.spawn("sleep", ["1000"]);
  const pending = rejection(vm.exec("sleep 1000 & sleep 1000"));
  await until(async () => (await vm.allProcesses()).length >= 4);
  const inside = descendants(init.pid);
  process.kill(init.pid, "SIGKILL");
  expect(await exit).toEqual({ reason: "died" });
  expect(exits).toEqual([["disposed", 137], "exit"]);
  expect((await pending).code).toBe("VM_DISPOSED");
  await until(() => running([init, ...inside]).length === 0);
  expect((await rejection(vm.exec("true"))).code).toBe("VM_DISPOSED");
  await vm.dispose();
  const next = await AgentVm.create();
  expect((await next.exec("echo on")).stdout).toBe("on\n");
  await next.dispose();
});

test("init that is stopped holds up its own VM alone, and dispose still ends it", async () => {
  const { vm, init } = await bootWithInit();
  const other = await boot();
  process.kill(init.pid, "SIGSTOP");
  const pending = rejection(vm.exec("true"));
  expect((await other.exec("echo on")).stdout).toBe("on\n");
  await vm.dispose();
  expect((await pending).code).toBe("VM_DISPOSED");
  await until(() => running([init]).length === 0);
});
