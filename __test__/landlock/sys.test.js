"use strict";
// At this level /sys is the host's own, seen through the Landlock domain: programs can read the number of processors,
// and nothing else.

const { spawnSync } = require("node:child_process");
const { python } = require("../fixture/guest-programs");
const { atLevel, boot, output } = require("../fixture/vm");

atLevel("landlock");

test("nproc and Python know how many processors there are", async () => {
  const vm = await boot();
  const onHost = (...command) => spawnSync("/usr/bin/env", command, { encoding: "utf8" }).stdout;
  expect(await output(vm, "nproc")).toBe(onHost("nproc"));
  const online = ["cat", "/sys/devices/system/cpu/online"];
  expect(await output(vm, online.join(" "))).toBe(onHost(...online));
});

test("nothing else of /sys can be read or listed, and nothing written: no cgroup, no device, no topology", async () => {
  const vm = await boot();
  const lines = await python(
    vm,
    `
readable = {"/sys/devices/system/cpu/online", "/sys/devices/system/cpu/possible"}
names = ["/sys", "/sys/fs/cgroup", "/sys/block", "/sys/class/net", "/sys/devices/system/cpu", "/sys/kernel", "/sys/module"]
for name in names:
    attempt(name, os.listdir, name)
files = ["/sys/devices/system/cpu/cpu0/topology/core_id", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state"]
for name in files + sorted(readable):
    if os.path.exists(name):
        attempt("write " + name, os.open, name, os.O_WRONLY)
        if name not in readable: attempt("read " + name, os.open, name, os.O_RDONLY)
for name in ("memory/release_agent", "unified/cgroup.procs", "cgroup.procs", "memory/cgroup.procs"):
    if os.path.exists("/sys/fs/cgroup/" + name):
        attempt("read cgroup", os.open, "/sys/fs/cgroup/" + name, os.O_RDONLY)
        attempt("write cgroup", os.open, "/sys/fs/cgroup/" + name, os.O_WRONLY)`,
  );
  expect(lines.filter((line) => !/ (EACCES|ENOENT|EROFS)$/.test(line))).toEqual([]);
  expect(lines.length).toBeGreaterThan(8);
});
