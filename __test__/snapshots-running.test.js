"use strict";
// Snapshots of VMs in which something runs, and contexts that come back.

const { AgentVm } = require("..");
const { rejection, until } = require("./fixture/promises");
const { boot, disposeAfter, output } = require("./fixture/vm");

let freezes;
beforeAll(async () => {
  const { checks } = await AgentVm.doctor();
  freezes = checks.find(({ name }) => name === "cgroup").ok;
});

/** Writes the same number to two files, one after the other, for ever. */
const WRITER = `
i=0
while :; do i=$((i + 1)); echo $i > first; echo $i > second; done`;

/** The body of a test of a VM that can be frozen. Where it cannot, the test checks that a snapshot is refused while a program runs. */
const freezing = (body) => async () => {
  const vm = await boot();
  if (freezes) return body(vm);
  const { pid } = await vm.spawn("sleep", ["600"]);
  expect((await rejection(vm.snapshot())).code).toBe("ISOLATION_UNAVAILABLE");
  expect((await rejection(vm.fork())).code).toBe("ISOLATION_UNAVAILABLE");
  await vm.killProcess(pid);
};

test(
  "a snapshot shows files as they were at one moment, and what runs runs on",
  freezing(async (vm) => {
    const { pid } = await vm.spawn("sh", ["-c", WRITER]);
    await until(() => vm.exists("/home/user/second"));
    const made = [];
    for (let round = 0; round < 10; round++) {
      await vm.writeFile("/home/user/round", `${round}`);
      made.push(await vm.snapshot());
      const before = Number(await output(vm, "cat second"));
      await until(async () => Number(await output(vm, "cat second")) > before);
    }
    expect((await vm.getProcess(pid)).running).toBe(true);
    const found = [];
    for (const from of made) {
      const one = await AgentVm.create({ from });
      const files = ["first", "second", "round"].map((name) => one.readFile(`/home/user/${name}`, "utf8"));
      const [first, second, round] = await Promise.all(files);
      // The shell empties a file before it writes it.
      const apart = first === "" || second === "" ? 0 : Number(first) - Number(second);
      found.push({ apart, number: Number(first || second), round, runs: (await one.allProcesses()).length });
      await one.dispose();
    }
    expect(found).toEqual(found.map((one, round) => ({ ...one, round: `${round}`, runs: 0 })));
    expect(found.filter(({ apart }) => apart !== 0 && apart !== 1)).toEqual([]);
    const numbers = found.map(({ number }) => number);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(made.map(({ parent }) => parent)).toEqual([null, ...made.slice(0, -1).map(({ id }) => id)]);
    const forks = (await vm.fork(3)).map(disposeAfter);
    expect(await Promise.all(forks.map((one) => output(one, "cat round")))).toEqual(["9", "9", "9"]);
    expect((await rejection(vm.rollback(made[4]))).code).toBe("VM_BUSY");
    await vm.rollback(made[4], { kill: true });
    expect(await output(vm, "cat round")).toBe("4");
    for (const one of made) await AgentVm.snapshots.remove(one);
  }),
);

test(
  "calls that wait go on, with shells and background processes",
  freezing(async (vm) => {
    await vm.snapshot().then(AgentVm.snapshots.remove);
    const shown = [];
    const { shellId } = await vm.openShell({ command: "cat" });
    vm.on("shellData", ({ data }) => shown.push(Buffer.from(data).toString()));
    const running = vm.exec("sleep 0.5; echo x > made; echo done");
    const port = vm.waitForPort(8123);
    const server = await vm.spawn("sh", ["-c", "sleep 0.3; exec python3 -m http.server 8123"]);
    const snapshots = await Promise.all([vm.snapshot(), vm.snapshot({ name: "second" })]);
    expect(snapshots[1].parent).toBe(snapshots[0].id);
    expect((await running).stdout).toBe("done\n");
    expect(await port).toMatchObject({ port: 8123, pid: server.pid });
    await vm.writeShell(shellId, "echoed\n");
    await until(() => shown.join("").includes("echoed"));
    const fork = disposeAfter(await AgentVm.create({ from: snapshots[0] }));
    expect(await fork.exists("/home/user/made")).toBe(false);
    for (const one of snapshots) await AgentVm.snapshots.remove(one);
  }),
);

test(
  "a paused VM stays paused",
  freezing(async (vm) => {
    await vm.spawn("sh", ["-c", WRITER]);
    await until(() => vm.exists("/home/user/second"));
    await vm.pause();
    const look = async () => String(await vm.readFile("/home/user/first"));
    const before = await look();
    const from = await vm.snapshot();
    expect(await look()).toBe(before);
    expect((await rejection(vm.exec("true"))).code).toBe("VM_PAUSED");
    const fork = disposeAfter(await AgentVm.create({ from }));
    expect(await output(fork, "cat first")).toBe(before);
    await vm.resume();
    await until(async () => (await look()) !== before);
    await AgentVm.snapshots.remove(from);
  }),
);

test(
  "a VM that ends meanwhile",
  freezing(async (vm) => {
    await output(vm, "head -c 200M /dev/zero > large");
    await vm.spawn("sleep", ["600"]);
    const before = (await AgentVm.snapshots.list()).length;
    const made = vm.snapshot().then(AgentVm.snapshots.remove, ({ code }) => code);
    const disposed = vm.dispose();
    expect([undefined, "VM_DISPOSED"]).toContain(await made);
    await disposed;
    expect((await AgentVm.snapshots.list()).length).toBe(before);
  }),
);

test("contexts come back with their working directory and environment, and go on where they are", async () => {
  const vm = await boot();
  const { contextId } = await vm.createContext({ env: { GIVEN: "1" } });
  const other = await vm.createContext({ shell: "sh", cwd: "/tmp" });
  await vm.exec("mkdir -p work; cd work; export MADE=2 GIVEN=3; own=4; f() { echo function; }", { contextId });
  const from = await vm.snapshot({ name: "with contexts" });
  // The VM's own contexts keep all of their state.
  const goes = await vm.exec('echo "$GIVEN $MADE $own"; f; pwd', { contextId });
  expect([goes.stdout, goes.contextRestarted]).toEqual(["3 2 4\nfunction\n/home/user/work\n", false]);
  await vm.exec("cd /; export MADE=later; echo later > /home/user/work/f", { contextId });
  await vm.deleteContext(other.contextId);
  const later = await vm.createContext();

  const look = 'echo "$GIVEN $MADE $own."; pwd; ls';
  const check = async (one) => {
    expect((await one.listContexts()).map((each) => [each.contextId, each.shell, each.cwd, each.pid])).toEqual([
      [contextId, "bash", "/home/user/work", null],
      [other.contextId, "sh", "/tmp", null],
    ]);
    const info = await one.getContext(contextId);
    expect([info.env.MADE, info.env.GIVEN, info.processes]).toEqual(["2", "3", []]);
    const first = await one.exec(look, { contextId });
    expect([first.stdout, first.contextRestarted]).toEqual(["3 2 .\n/home/user/work\n", true]);
    const second = await one.exec("cd ..; pwd", { contextId });
    expect([second.stdout, second.contextRestarted]).toEqual(["/home/user\n", false]);
    expect((await one.exec("pwd", { contextId: other.contextId })).stdout).toBe("/tmp\n");
    await one.resetContext(contextId);
    expect((await one.exec(look, { contextId })).stdout).toBe("1  .\n/home/user\nwork\n");
    const added = await one.createContext();
    expect([contextId, other.contextId]).not.toContain(added.contextId);
    return added.contextId;
  };
  await check(disposeAfter(await AgentVm.create({ from })));
  await vm.deleteContext(later.contextId);
  expect((await rejection(vm.rollback(from))).code).toBe("VM_BUSY");
  await vm.rollback(from, { kill: true });
  // A name is not given twice, also not that of a context that the rollback has ended.
  expect(await check(vm)).not.toBe(later.contextId);
  const [fork] = (await vm.fork()).map(disposeAfter);
  expect((await fork.exec("pwd", { contextId: other.contextId })).stdout).toBe("/tmp\n");
  await AgentVm.snapshots.remove(from);
});

test(
  "a context in which a command runs comes back as it was before the command",
  freezing(async (vm) => {
    const { contextId } = await vm.createContext();
    await vm.exec("cd /tmp; export BEFORE=1; (exit 7)", { contextId });
    const running = vm.exec("cd /; export BEFORE=2; touch /tmp/begun; sleep 600", { contextId });
    running.catch(() => {});
    await until(() => vm.exists("/tmp/begun"));
    const from = await vm.snapshot();
    const one = disposeAfter(await AgentVm.create({ from }));
    const { stdout } = await one.exec('echo "$?"; pwd; echo $BEFORE; ls', { contextId });
    expect(stdout).toBe("7\n/tmp\n1\nbegun\n");
    await AgentVm.snapshots.remove(from);
  }),
);

test("watches see what comes after a snapshot, and are no obstacle to one", async () => {
  const vm = await boot();
  const watcher = vm.watch("/home/user");
  await watcher.ready;
  await vm.writeFile("/home/user/before", "x");
  const from = await vm.snapshot();
  await vm.writeFile("/home/user/after", "x");
  const paths = [];
  for await (const { path } of watcher) {
    paths.push(path);
    if (path === "/home/user/after") break;
  }
  expect(paths).toContain("/home/user/before");
  const one = disposeAfter(await AgentVm.create({ from }));
  expect(await output(one, "ls")).toBe("before\n");
  await AgentVm.snapshots.remove(from);
});

test("a working directory that is gone is replaced by the home", async () => {
  const vm = await boot();
  const { contextId } = await vm.createContext();
  await vm.exec("mkdir /run/user-gone 2>/dev/null || true; mkdir -p /dev/shm/gone; cd /dev/shm/gone", { contextId });
  const from = await vm.snapshot();
  const one = disposeAfter(await AgentVm.create({ from }));
  expect((await one.exec("pwd", { contextId })).stdout).toBe("/home/user\n");
  await AgentVm.snapshots.remove(from);
});
