"use strict";
// A VM whose cgroup directories someone else on the host removes: an administrator, systemd, a script.

const fs = require("node:fs");
const path = require("node:path");
const { directoriesOf, serverNumber } = require("./fixture/cgroups");
const { descendants } = require("./fixture/processes");
const { boot } = require("./fixture/vm");
const { AgentVm } = require("..");

let served;
beforeAll(async () => {
  const { checks } = await AgentVm.doctor();
  served = Object.fromEntries(checks.map(({ name, ok }) => [name, ok]));
});

const limits = () => ({
  ...(served["memory limit"] && { memoryBytes: 2 ** 27 }),
  ...(served["cpu limit"] && { cpus: 1 }),
});

/** Removes all empty directories below those of this process's VMs, and returns their number. */
function removeIdle() {
  const number = descendants(process.pid)
    .map(({ pid }) => serverNumber(pid))
    .find(Boolean);
  const families = directoriesOf(number).flatMap((directory) =>
    fs
      .readdirSync(directory, { recursive: true })
      .filter((name) => path.basename(name).startsWith("family-"))
      .map((name) => path.join(directory, name)),
  );
  let removed = 0;
  for (const family of families) {
    try {
      fs.rmdirSync(family);
      removed += 1;
    } catch (error) {
      // Processes run in it.
      if (error.code !== "EBUSY") throw error;
    }
  }
  return removed;
}

/** Uses a VM in every way, `times` times at once. */
async function use(vm, times) {
  const ways = Array.from({ length: times }, () => [
    vm.exec("echo on").then(({ stdout }) => stdout),
    vm.spawn("sleep", ["1000"]).then(({ pid }) => vm.killProcess(pid)),
    vm.openShell().then(({ shellId }) => vm.closeShell(shellId)),
  ]);
  const ended = await Promise.allSettled(ways.flat());
  expect(ended.filter(({ status }) => status === "rejected")).toEqual([]);
}

test.each([
  ["without limits", () => ({})],
  ["with all limits that there are", limits],
])("a VM %s whose idle directories were removed makes new ones", async (_, ask) => {
  const vm = await boot({ limits: ask() });
  await use(vm, 3);
  const { pid } = await vm.spawn("sleep", ["1000"]);
  for (let round = 0; round < 3; round++) {
    // An ordinary user without a delegated directory has no such directories.
    expect(removeIdle() > 0).toBe(served.cgroup);
    await use(vm, 3);
  }
  // Processes that ran meanwhile were not disturbed, and are still found.
  expect((await vm.listProcesses()).find((process) => process.pid === pid)).toMatchObject({ running: true });
  await vm.killProcess(pid);
  const { timedOut } = await vm.exec("(setsid sleep 1000 &) & sleep 1000", { timeout: 200 });
  expect(timedOut).toBe(true);
});

test("a killed command and a command that ran out of memory still have different reasons", async () => {
  const vm = await boot({ limits: limits() });
  await use(vm, 2);
  removeIdle();
  const full = "python3 -c 'b = bytearray(2 ** 29)'";
  const result = await vm.exec(full);
  expect(result.reason === "oom").toBe(Boolean(served["memory limit"]));
  removeIdle();
  expect((await vm.exec("kill -9 $$")).reason).not.toBe("oom");
});

test("a VM whose memory cgroup was removed starts no more programs, and says why", async () => {
  const vm = await boot({ limits: limits() });
  await use(vm, 1);
  removeIdle();
  const number = descendants(process.pid)
    .map(({ pid }) => serverNumber(pid))
    .find(Boolean);
  let removed = 0;
  for (const directory of directoriesOf(number)) {
    for (const each of [path.join(directory, "programs"), directory]) {
      try {
        fs.rmdirSync(each);
        removed += 1;
      } catch (error) {
        // Init is in it, or the directory does not exist.
        if (error.code !== "EBUSY" && error.code !== "ENOENT") throw error;
      }
    }
  }
  expect(removed > 0).toBe(Boolean(served["memory limit"]));
  const ended = await vm.exec("echo on").then(
    ({ stdout }) => stdout,
    (error) => `${error.code}: ${error.message}`,
  );
  const refused = "ISOLATION_UNAVAILABLE: the VM's cgroup was removed on the host, and its limits with it.";
  expect(ended.startsWith(served["memory limit"] ? refused : "on\n")).toBe(true);
});
