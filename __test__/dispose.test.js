"use strict";
const { descendants, running } = require("./fixture/processes");
const { rejection, until } = require("./fixture/promises");
const { boot } = require("./fixture/vm");
const { AgentVm } = require("..");

test("dispose ends every process of the VM", async () => {
  const others = new Set(descendants(process.pid).map(({ pid }) => pid));
  const vm = await AgentVm.create();
  await vm.exec("sleep 1000 & setsid -f sh -c 'trap \"\" TERM; sleep 1000'");
  await vm.spawn("sleep", ["1000"]);
  const mine = () => descendants(process.pid).filter(({ pid }) => !others.has(pid));
  // Init, three sleeps and one sh. A process whose parent has just ended may have no parent for a moment.
  await until(() => mine().length >= 5);
  const processes = mine();
  await vm.dispose();
  await until(() => running(processes).length === 0);
});

test("dispose can be called again, at once and later", async () => {
  const vm = await boot();
  await Promise.all([vm.dispose(), vm.dispose()]);
  await vm.dispose();
  await vm[Symbol.asyncDispose]();
});

test("the VM is disposed at the end of `await using`", async () => {
  // Node.js 20 does not support the syntax, so this calls what it stands for.
  expect(typeof AgentVm.prototype[Symbol.asyncDispose]).toBe("function");
  const vm = await boot();
  await vm[Symbol.asyncDispose]();
  await expect(vm.exec("true")).rejects.toMatchObject({ code: "VM_DISPOSED" });
});

test("calls that are pending reject with VM_DISPOSED, and so do later ones", async () => {
  const vm = await boot();
  const { pid } = await vm.spawn("sleep", ["1000"]);
  const pending = [vm.exec("sleep 1000"), vm.execFile("sleep", ["1000"]), vm.waitProcess(pid)].map(rejection);
  await until(async () => (await vm.allProcesses()).length >= 3);
  await vm.dispose();
  const codes = (await Promise.all(pending)).map(({ code }) => code);
  expect(codes).toEqual(["VM_DISPOSED", "VM_DISPOSED", "VM_DISPOSED"]);
  const later = [vm.exec("true"), vm.execFile("true"), vm.spawn("true"), vm.allProcesses(), vm.openShell()].map(
    rejection,
  );
  expect((await Promise.all(later)).map(({ code }) => code)).toEqual(Array(5).fill("VM_DISPOSED"));
});

test("a call that was made just before dispose ends one way or the other", async () => {
  for (let i = 0; i < 20; i++) {
    const vm = await boot();
    const call = vm.exec("echo x").then(
      ({ stdout }) => stdout,
      ({ code }) => code,
    );
    await Promise.all([vm.dispose(), call]);
    expect(["x\n", "VM_DISPOSED"]).toContain(await call);
  }
});

test("exit is emitted once, with its reason, after the ends of what ran and before dispose resolves", async () => {
  const vm = await boot();
  const seen = [];
  vm.on("processExit", ({ reason, exitCode, signal }) => seen.push([reason, exitCode, signal]));
  vm.on("exit", (event) => seen.push(event));
  await vm.spawn("sleep", ["1000"]);
  await vm.dispose();
  seen.push("disposed");
  await vm.dispose();
  expect(seen).toEqual([["disposed", 137, "SIGKILL"], { reason: "disposed" }, "disposed"]);
});

test("a VM may be disposed by a listener, in the middle of its output", async () => {
  const vm = await boot();
  const pending = rejection(vm.exec("yes", { onStdout: () => vm.dispose() }));
  expect((await pending).code).toBe("VM_DISPOSED");
});

test("the end of one VM does not end another", async () => {
  const [one, other] = await Promise.all([boot(), boot()]);
  const pending = other.exec("sleep 0.3; echo on");
  await one.dispose();
  expect(await pending).toMatchObject({ stdout: "on\n" });
});
