"use strict";
// /sys in a VM: the same processors as on the host, no devices, and no writable file.

const { spawnSync } = require("node:child_process");
const { temporaryDirectory } = require("./fixture/directory");
const { muslRoot } = require("./fixture/roots");
const { boot, output } = require("./fixture/vm");
const { AgentVm } = require("..");

/** The processors that lscpu lists, one per line; the last fields are cores, sockets, nodes and caches. */
const LSCPU = "lscpu --parse=CPU,CORE,SOCKET,NODE,CACHE | grep -v ^#";

const onHost = (command) => spawnSync("/bin/sh", ["-c", command], { encoding: "utf8" }).stdout;

test("lscpu, nproc and Python list the processors of the host, with their cores, nodes and caches", async () => {
  const vm = await boot();
  const processors = await output(vm, LSCPU);
  expect(processors.trim().split("\n")).toHaveLength(Number(onHost("getconf _NPROCESSORS_ONLN")));
  expect(processors).toBe(onHost(LSCPU));
  const summary = "lscpu | grep -E '^(Thread|Core|Socket|NUMA)' | tr --squeeze-repeats ' '";
  expect(await output(vm, summary)).toBe(onHost(summary));
  expect(await output(vm, "nproc --all")).toBe(onHost("nproc --all"));
  const online = "cat /sys/devices/system/cpu/online /sys/devices/system/node/online";
  expect(await output(vm, online)).toBe(onHost(online));
});

test("lsblk runs and finds no disk", async () => {
  const vm = await boot();
  expect(await vm.exec("lsblk --noheadings")).toMatchObject({ stdout: "", stderr: "", exitCode: 0 });
});

test("the VMs of a server see the same processors, even after the first VM has ended", async () => {
  const first = await AgentVm.create();
  const expected = await output(first, LSCPU);
  const second = await boot();
  await first.dispose();
  const others = await Promise.all(Array.from({ length: 12 }, () => boot()));
  for (const vm of [second, ...others]) expect(await output(vm, LSCPU)).toBe(expected);
});

test("a VM without limits shows no cgroups", async () => {
  const vm = await boot();
  expect(await output(vm, "grep cgroup /proc/self/mountinfo || echo none")).toBe("none\n");
  expect(await output(vm, "find /sys/fs/cgroup -type f")).toBe("");
});

test("another root has it too, whatever it has at /sys itself", async () => {
  const root = muslRoot(temporaryDirectory());
  const vm = await boot({ rootfs: root });
  const online = "cat /sys/devices/system/cpu/online";
  expect(await output(vm, online)).toBe(onHost(online));
});
