"use strict";
// limits.memoryBytes and limits.cpus: enforced if a cgroup can do it, refused if none can.

const { served, withLimit } = require("./fixture/limits");
const { rejection, until } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");
const { AgentVm } = require("..");

const MiB = 2 ** 20;
/** Uses that many bytes of memory and keeps them. */
const take = (bytes) => `python3 -c 'import time; held = b"x" * ${bytes}; print("held", flush=True); time.sleep(1000)'`;
const bomb = ["-c", `held = b"x" * ${512 * MiB}`];

test("root's server holds both limits; an ordinary user's where it was delegated a cgroup", () => {
  const forRoot = { "memory limit": true, "cpu limit": true };
  const forUser = { "memory limit": expect.any(Boolean), "cpu limit": expect.any(Boolean) };
  expect(served).toMatchObject(process.getuid() === 0 ? forRoot : forUser);
});

test("enforcement is null for a limit that was not set, and names what holds the others", async () => {
  const vm = await boot();
  expect(vm.enforcement).toEqual({
    memoryBytes: null,
    cpus: null,
    pids: "rlimit",
    openFiles: "rlimit",
    diskBytes: "tmpfs",
    ids: null,
  });
});

test(
  "with a limit on memory, programs start as root without a capability too",
  withLimit(
    { memoryBytes: 256 * MiB },
    async (vm) => {
      const status = await output(vm, "grep -E '^(Uid|CapBnd|Seccomp_filters)' /proc/self/status");
      expect(status).toMatch(/^Uid:\t0\t0\t0\t0\nCapBnd:\t0000000000000000\n/);
    },
    { user: "root", ids: "single" },
  ),
);

test(
  "a command that takes more memory than the limit ends as oom, and the VM runs commands afterwards",
  withLimit({ memoryBytes: 64 * MiB }, async (vm) => {
    expect(vm.enforcement.memoryBytes).toMatch(/^cgroup[12]$/);
    const killed = { exitCode: 137, signal: "SIGKILL", reason: "oom" };
    expect(await vm.execFile("python3", bomb)).toMatchObject(killed);
    const exit = new Promise((resolve) => {
      vm.once("processExit", resolve);
    });
    const { pid } = await vm.spawn("python3", bomb);
    expect(await exit).toMatchObject({ pid, ...killed });
    const shellExit = new Promise((resolve) => {
      vm.once("shellExit", resolve);
    });
    await vm.openShell({ command: "python3", args: bomb });
    expect(await shellExit).toMatchObject(killed);
    // A shell passes on the exit status of its command.
    const passedOn = await vm.exec(`python3 -c '${bomb[1]}'; exit $?`);
    expect(passedOn).toMatchObject({ exitCode: 137, reason: "oom" });
    expect(await output(vm, "echo on")).toBe("on\n");
  }),
);

test(
  "a command that ends in another way is not oom",
  withLimit({ memoryBytes: 64 * MiB }, async (vm) => {
    expect(await vm.exec("kill -KILL $$")).toMatchObject({ exitCode: 137, reason: "signal" });
    expect(await vm.exec("exit 137")).toMatchObject({ exitCode: 137, reason: "exited" });
    // It outlives what it started.
    expect(await vm.exec(`python3 -c '${bomb[1]}'; echo after`)).toMatchObject({
      exitCode: 0,
      reason: "exited",
      stdout: "after\n",
    });
    expect(await vm.exec("sleep 1000", { timeout: 50 })).toMatchObject({ exitCode: 137, reason: "timeout" });
    // A command does not report "oom" because another command ran out of memory.
    const exits = new Map();
    vm.on("processExit", ({ pid, reason }) => exits.set(pid, reason));
    const { pid: victim } = await vm.spawn("python3", bomb);
    const { pid: other } = await vm.spawn("sh", ["-c", "sleep 0.5; kill -KILL $$"]);
    const { pid: ours } = await vm.spawn("sleep", ["1000"]);
    await vm.waitProcess(victim);
    await vm.killProcess(ours);
    await vm.waitProcess(other);
    expect([exits.get(victim), exits.get(other), exits.get(ours)]).toEqual(["oom", "signal", "signal"]);
  }),
);

test(
  "a VM outlives commands that start while its memory is full of files",
  withLimit({ memoryBytes: 40 * MiB }, async (vm) => {
    const filled = await vm.exec("dd if=/dev/zero of=/tmp/big bs=256k count=400; exit $?");
    expect(filled).toMatchObject({ exitCode: 137, reason: "oom" });
    // Programs are small here, so the kernel may pick a process that has not executed its program yet.
    const ends = [];
    for (let round = 0; round < 20; round++) {
      ends.push(...(await Promise.all([1, 2, 3, 4].map(() => vm.exec("true")))));
    }
    for (const { exitCode, reason } of ends)
      expect([`0 exited`, `137 oom`, `137 signal`]).toContain(`${exitCode} ${reason}`);
    await vm.delete("/tmp/big");
    expect(await output(vm, "echo on")).toBe("on\n");
  }),
);

test(
  "the limit is on all of the VM together, private files included",
  withLimit({ memoryBytes: 96 * MiB }, async (vm) => {
    const { pid } = await vm.spawn("sh", ["-c", `exec ${take(40 * MiB)}`]);
    await until(async () => (await vm.readProcessOutput(pid)).chunks.length > 0);
    const ends = await Promise.all([1, 2, 3].map(() => vm.exec(`exec timeout 2 ${take(40 * MiB)}`)));
    // Four times 40 MiB exceed the limit, so some of them had to be killed.
    const after = await vm.readProcessOutput(pid);
    expect([...ends.map(({ reason }) => reason), after.exited?.reason]).toContain("oom");
    await vm.killProcess(pid);

    const written = await vm.exec("dd if=/dev/zero of=/tmp/big bs=1M count=200; exit $?");
    expect(written).toMatchObject({ exitCode: 137, reason: "oom" });
    // The file still exists, in memory: it must be removed before anything else of that size can run.
    const { size } = await vm.stat("/tmp/big");
    expect(size).toBeLessThan(96 * MiB);
    await vm.delete("/tmp/big");
    expect(await output(vm, "echo on")).toBe("on\n");
  }),
);

test(
  "one VM's memory does not count for another",
  withLimit({ memoryBytes: 64 * MiB }, async (small) => {
    const [large, free] = await Promise.all([boot({ limits: { memoryBytes: 512 * MiB } }), boot()]);
    const size = 128 * MiB;
    const command = ["-c", `print(len(b"x" * ${size}))`];
    const [bounded, ...others] = await Promise.all([small, large, free].map((vm) => vm.execFile("python3", command)));
    expect(bounded.reason).toBe("oom");
    expect(others.map(({ stdout }) => stdout)).toEqual([`${size}\n`, `${size}\n`]);
  }),
);

test(
  "the VM gets no more than its share of a core",
  withLimit({ cpus: 0.2 }, async (vm) => {
    expect(vm.enforcement.cpus).toMatch(/^cgroup[12]$/);
    const began = performance.now();
    const spin = "timeout 1 sh -c 'while :; do :; done'";
    // Two at the same time use no more together than one of them alone.
    const results = await Promise.all([vm.exec(spin), vm.exec(spin)]);
    const seconds = (performance.now() - began) / 1000;
    const used = results.reduce((sum, { usage }) => sum + usage.userMs + usage.systemMs, 0) / 1000;
    // A fifth of the elapsed time, and one kernel period at either end.
    expect(used).toBeLessThan(0.2 * seconds + 0.2);
  }),
);

test("isolation none enforces the limits that it can, and refuses the others by name", async () => {
  for (const name of ["pids", "diskBytes"]) {
    const error = await rejection(AgentVm.create({ isolation: "none", limits: { [name]: 2 * MiB } }));
    expect(error.code).toBe("ISOLATION_UNAVAILABLE");
    expect(error.message).toContain(`limits.${name}`);
  }
  const isHeld = served["memory limit"];
  const vm = await boot({ isolation: "none", limits: isHeld ? { memoryBytes: 64 * MiB } : {} });
  expect(vm.enforcement).toMatchObject({ pids: null, diskBytes: null, openFiles: "rlimit" });
  const command = isHeld ? bomb : ["-c", "raise SystemExit(137)"];
  const expected = { exitCode: 137, reason: isHeld ? "oom" : "exited" };
  expect(await vm.execFile("python3", command)).toMatchObject(expected);
});
