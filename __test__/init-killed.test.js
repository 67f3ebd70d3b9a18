"use strict";
const { descendants, running, withInit } = require("./fixture/processes");
const { rejection, until } = require("./fixture/promises");
const { boot } = require("./fixture/vm");
const { AgentVm } = require("..");

test("a VM whose init is killed ends with reason died; pending calls reject, and the server continues", async () => {
  const { vm, init } = await withInit(boot);
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

test("every process gets its exit event after its output and before the VM's exit event, and pending calls reject", async () => {
  const { vm, init } = await withInit(boot);
  const events = [];
  vm.on("processOutput", ({ pid, data }) => events.push([pid, String(data)]));
  vm.on("processExit", ({ pid, ...status }) => events.push([pid, status]));
  const exit = new Promise((resolve) => {
    vm.on("exit", (event) => {
      events.push(["vm", event]);
      resolve();
    });
  });
  const pids = [];
  for (let i = 0; i < 30; i++) pids.push((await vm.spawn("sh", ["-c", `echo ${i}; sleep 1000 & exec sleep 1001`])).pid);
  const done = await vm.spawn("sh", ["-c", "sleep 1000 & exit 3"]);
  await vm.waitProcess(done.pid);
  await until(() => events.length === 31);
  const pending = [
    ...pids.map((pid) => vm.waitProcess(pid)),
    ...pids.map((pid) => vm.writeProcessStdin(pid, Buffer.alloc(10_000_000)).then(() => vm.waitProcess(pid))),
    vm.exec("sleep 1000"),
    vm.execFile("sleep", ["1000"]),
  ].map(rejection);
  process.kill(init.pid, "SIGKILL");
  await exit;
  for (const error of await Promise.all(pending)) expect(error.code).toBe("VM_DISPOSED");
  expect(events.at(-1)).toEqual(["vm", { reason: "died" }]);
  for (const [i, pid] of pids.entries()) {
    const usage = { userMs: 0, systemMs: 0, maxRssBytes: 0 };
    expect(events.filter(([of]) => of === pid)).toEqual([
      [pid, `${i}\n`],
      [pid, { exitCode: 137, signal: "SIGKILL", reason: "disposed", usage }],
    ]);
  }
  expect(vm.activeCount).toBe(0);
  await vm.dispose();
  await vm.dispose();
});

test("dispose of a VM that is just dying resolves, after its exit event", async () => {
  for (let round = 0; round < 5; round++) {
    const { vm, init } = await withInit(boot);
    let told = 0;
    vm.on("exit", () => told++);
    process.kill(init.pid, "SIGKILL");
    await new Promise((resolve) => {
      setTimeout(resolve, round);
    });
    await vm.dispose();
    expect(told).toBe(1);
  }
});

test("no event follows a VM's exit event, also where children of exited processes still write", async () => {
  const vm = await boot();
  const { pid } = await vm.spawn("sh", ["-c", "yes & yes >&2 & exit 0"]);
  await vm.waitProcess(pid);
  const kinds = [];
  vm.on("processOutput", () => kinds.push("output"));
  vm.on("exit", () => kinds.push("exit"));
  await until(() => kinds.length > 10);
  await vm.dispose();
  await new Promise((resolve) => {
    setTimeout(resolve, 100);
  });
  expect(kinds.indexOf("exit")).toBe(kinds.length - 1);
});

test("init that is stopped holds up its own VM alone, and dispose still ends it", async () => {
  const { vm, init } = await withInit(boot);
  const other = await boot();
  process.kill(init.pid, "SIGSTOP");
  const pending = rejection(vm.exec("true"));
  expect((await other.exec("echo on")).stdout).toBe("on\n");
  await vm.dispose();
  expect((await pending).code).toBe("VM_DISPOSED");
  await until(() => running([init]).length === 0);
});
