"use strict";
const { AsyncLocalStorage } = require("node:async_hooks");
const diagnostics = require("node:diagnostics_channel");

const { rejection } = require("./fixture/promises");
const { boot } = require("./fixture/vm");
const { AgentVm } = require("..");

const subscribed = [];
function messages(name) {
  const told = [];
  const take = (message) => told.push(message);
  diagnostics.subscribe(name, take);
  subscribed.push([name, take]);
  return told;
}
afterEach(() => {
  for (const [name, take] of subscribed.splice(0)) diagnostics.unsubscribe(name, take);
});

const timed = { startTime: expect.any(Number), durationMs: expect.any(Number) };

test("boots are published on agent-vm:boot, also those that fail", async () => {
  const told = messages("agent-vm:boot");
  const vm = await boot();
  expect(told).toEqual([{ ...timed, vm }]);
  const error = await rejection(AgentVm.create({ hostname: "" }));
  expect(told[1]).toEqual({ ...timed, error });
});

test("commands are published on agent-vm:exec", async () => {
  const vm = await boot();
  const told = messages("agent-vm:exec");
  const before = Date.now();
  await vm.exec("sleep 0.1; exit 3");
  expect(told).toMatchObject([
    { vm, file: "/bin/sh", args: ["-c", "sleep 0.1; exit 3"], exitCode: 3, reason: "exited" },
  ]);
  expect(told[0].durationMs).toBeGreaterThan(90);
  expect(told[0].startTime).toBeGreaterThanOrEqual(before);
  const error = await rejection(vm.execFile("no-such-program"));
  expect(told[1]).toMatchObject({ file: "no-such-program", args: [], error });
});

test("processes are published on agent-vm:spawn when they have ended", async () => {
  const vm = await boot();
  const told = messages("agent-vm:spawn");
  const { pid } = await vm.spawn("sh", ["-c", "exit 4"]);
  await vm.waitProcess(pid);
  expect(told).toMatchObject([{ vm, file: "sh", args: ["-c", "exit 4"], pid, exitCode: 4, signal: null }]);
  const error = await rejection(vm.spawn("no-such-program"));
  expect(told[1]).toMatchObject({ file: "no-such-program", error });
});

test("shells are published on agent-vm:shell when they have exited, also at the end of the VM", async () => {
  const vm = await boot();
  const told = messages("agent-vm:shell");
  const { shellId, exited } = await vm.openShell({ command: "sh", args: ["-c", "exit 4"] });
  await exited;
  expect(told).toEqual([
    expect.objectContaining({ ...timed, vm, file: "sh", args: ["-c", "exit 4"], shellId, exitCode: 4, signal: null }),
  ]);
  const error = await rejection(vm.openShell({ command: "no-such-program" }));
  expect(told[1]).toEqual({ ...timed, vm, file: "no-such-program", args: [], error });
  const other = await vm.openShell();
  await vm.dispose();
  expect(told.slice(2)).toMatchObject([{ file: "bash", args: [], shellId: other.shellId, reason: "disposed" }]);
});

test("disposals are published on agent-vm:dispose, with the last statistics", async () => {
  const told = messages("agent-vm:dispose");
  const vm = await AgentVm.create();
  await vm.exec("i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; echo");
  const { cpuMs } = await vm.stats();
  await vm.dispose();
  await vm.dispose();
  expect(told).toEqual([{ ...timed, vm, stats: expect.objectContaining({ processes: 0, bytesOut: 1 }) }]);
  expect(told[0].stats.cpuMs).toBeGreaterThanOrEqual(cpuMs);
});

test("a message is published in the asynchronous context of its call", async () => {
  const storage = new AsyncLocalStorage();
  const found = {};
  for (const name of ["boot", "exec", "spawn", "shell", "dispose"]) {
    const take = () => (found[name] = storage.getStore());
    diagnostics.subscribe(`agent-vm:${name}`, take);
    subscribed.push([`agent-vm:${name}`, take]);
  }
  const vm = await storage.run("boots", () => boot());
  const { pid } = await storage.run("spawns", () => vm.spawn("cat"));
  const shell = await storage.run("opens", () => vm.openShell());
  await storage.run("types", () => vm.writeShell(shell.shellId, "exit\n"));
  await shell.exited;
  await storage.run("runs", () => vm.exec("true"));
  await storage.run("closes", () => vm.closeProcessStdin(pid));
  await vm.waitProcess(pid);
  await storage.run("disposes", () => vm.dispose());
  expect(found).toEqual({ boot: "boots", exec: "runs", spawn: "spawns", shell: "opens", dispose: "disposes" });
});
