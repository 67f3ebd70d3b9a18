"use strict";
const { spawn } = require("node:child_process");
const { boot, output } = require("./fixture/vm");

test("ps shows the VM's own processes and no other", async () => {
  const vm = await boot();
  const other = await boot();
  await other.spawn("sleep", ["1001"]);
  const hosts = spawn("sleep", ["1002"]);
  try {
    const printed = await output(vm, "sleep 1003 & exec ps -eo pid=,args=");
    const processes = printed
      .trim()
      .split("\n")
      .map((line) => line.trim().replace(/^\d+ /, ""));
    expect(processes[0]).toBe("agent-vm-init");
    expect(printed).toMatch(/^\s*1 agent-vm-init/);
    expect(processes.slice(1).filter((line) => !/^(sleep 1003|ps -eo|\/bin\/sh -c sleep 1003)/.test(line))).toEqual([]);
  } finally {
    hosts.kill();
  }
});

test("a process has the same number inside and in the API", async () => {
  const vm = await boot();
  let printed = "";
  const { pid } = await vm.spawn("sh", ["-c", "echo $$"], { onStdout: (data) => (printed += data) });
  await vm.waitProcess(pid);
  expect(printed).toBe(`${pid}\n`);
});

test("the kernel's settings and levers cannot be touched", async () => {
  const vm = await boot();
  const levers = [
    "sysrq-trigger",
    "sys/kernel/core_pattern",
    "sys/kernel/hostname",
    "sys/vm/drop_caches",
    "sys/kernel/pid_max",
  ];
  for (const lever of [...levers, "sys/user/max_user_namespaces", "1/oom_score_adj"]) {
    const { exitCode } = await vm.exec(`echo 1 > /proc/${lever}`);
    expect({ lever, refused: exitCode !== 0 }).toEqual({ lever, refused: true });
  }
});

test.each(["kcore", "kmsg", "keys", "kpagecount", "timer_list", "interrupts", "key-users"])(
  "/proc/%s tells nothing of the host",
  async (name) => {
    const vm = await boot();
    expect((await vm.exec(`head -c 100 /proc/${name}`)).stdout).toBe("");
  },
);

test("user namespaces are forbidden inside by the kernel too", async () => {
  const vm = await boot();
  expect(await output(vm, "cat /proc/sys/user/max_user_namespaces")).toBe("0\n");
});

test("the mounts name no path of the host's but its programs", async () => {
  const vm = await boot();
  const mounts = await output(vm, "cat /proc/self/mountinfo");
  expect(mounts).not.toContain(process.cwd());
  expect(mounts).not.toContain("/sys/fs/cgroup");
  const writable = mounts
    .trim()
    .split("\n")
    .filter((line) => / rw[,\s]/.test(line.split(" - ")[0]));
  const places = writable.map((line) => line.split(" ")[4]).filter((place) => !/^\/(dev|proc)(\/|$)/.test(place));
  expect(places.sort()).toEqual(["/home/user", "/run", "/tmp", "/var/tmp"]);
});
