"use strict";
const { until } = require("./fixture/promises");
const { record } = require("./fixture/record");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});
afterEach(async () => {
  const left = await vm.allProcesses();
  await Promise.all(left.map(({ pid }) => vm.killProcess(pid).catch(() => {})));
  await until(async () => (await vm.allProcesses()).length === 0);
});

const find = async (command) => (await vm.allProcesses()).find((process) => process.command === command);

test("a fresh VM lists nothing", async () => {
  expect(await vm.allProcesses()).toEqual([]);
  expect(await vm.processTree()).toEqual([]);
});

test("a process is listed with its name, user, parent, start time, processor time and memory", async () => {
  const before = Date.now();
  const { pid } = await vm.spawn(
    "/usr/bin/python3",
    ["-c", "b = bytearray(50_000_000)\nwhile True: pass", "", "a b", "ü"],
    {
      cwd: "/tmp",
    },
  );
  const busy = await until(async () => {
    const found = (await vm.allProcesses()).find((process) => process.pid === pid);
    return found.cpuMs >= 100 && found;
  });
  expect(busy).toEqual({
    pid,
    ppid: 0,
    pgid: pid,
    sid: pid,
    driver: "python",
    command: "python3",
    args: ["-c", "b = bytearray(50_000_000)\nwhile True: pass", "", "a b", "ü"],
    cwd: "/tmp",
    status: "running",
    exitCode: null,
    startTime: expect.any(Number),
    exitTime: null,
    rssBytes: expect.any(Number),
    cpuMs: expect.any(Number),
  });
  // The kernel counts in hundredths of a second, and rounds down.
  expect(busy.startTime).toBeGreaterThan(before - 100);
  expect(busy.startTime).toBeLessThanOrEqual(Date.now());
  expect(busy.rssBytes).toBeGreaterThan(50_000_000);
  expect(busy.rssBytes).toBeLessThan(200_000_000);
  const later = await until(async () => {
    const found = (await vm.allProcesses()).find((process) => process.pid === pid);
    return found.cpuMs > busy.cpuMs && found;
  });
  expect(later.cpuMs).toBeLessThan(Date.now() - before + 100);
  expect(later.startTime).toBe(busy.startTime);
});

test("processes of exec, spawn and shells, their children and daemons are listed", async () => {
  const exec = vm.exec("sleep 1001; true");
  const spawned = await vm.spawn("sh", ["-c", "sleep 1002; true"]);
  const { shellId } = await vm.openShell({ command: "sh" });
  await vm.writeShell(shellId, "sleep 1003 &\n");
  await vm.exec("setsid -f sleep 1004; (setsid sh -c 'sleep 1005 & exit' &)");
  const sleeps = async () => (await vm.allProcesses()).filter(({ command }) => command === "sleep");
  // Two of them are daemons once the process that started them has ended.
  await until(
    async () => (await sleeps()).filter(({ ppid }) => ppid === 0).length === 2 && (await sleeps()).length === 5,
  );
  const table = await vm.allProcesses();
  const by = (seconds) => table.find(({ args }) => args[0] === String(seconds));
  const parent = (seconds) => table.find(({ pid }) => pid === by(seconds).ppid);
  expect(parent(1001)).toMatchObject({ command: "sh", args: ["-c", "sleep 1001; true"], ppid: 0 });
  expect(parent(1002).pid).toBe(spawned.pid);
  expect(parent(1003)).toMatchObject({ command: "sh", ppid: 0 });
  expect(by(1003).pgid).toBe(by(1003).pid);
  expect(by(1003).sid).toBe(parent(1003).pid);
  expect(by(1004)).toMatchObject({ ppid: 0, sid: by(1004).pid });
  expect(by(1005).ppid).toBe(0);
  // The same as the output of the VM's own ps.
  const ps = (await vm.exec("ps -eo pid=,ppid=,pgid=,sid=,comm=")).stdout.trim().split("\n");
  const told = ps.map((line) => line.trim().split(/\s+/)).filter((words) => words.at(-1) === "sleep");
  const asTold = (await sleeps()).map(({ pid, ppid, pgid, sid }) => [pid, ppid || 1, pgid, sid, "sleep"].map(String));
  expect(asTold).toEqual(told);
  expect((await vm.listProcesses()).map(({ pid }) => pid)).toContain(spawned.pid);
  await vm.closeShell(shellId);
  await vm.killProcess(parent(1001).pid);
  await exec;
});

test("the driver is the runtime that executes the program, also for scripts that name it", async () => {
  await vm.exec(`
    cd /tmp
    printf '#!/usr/bin/python3\\nimport time\\ntime.sleep(1000)\\n' > script.py
    printf '#!/usr/bin/env node\\nsetTimeout(() => {}, 1000000)\\n' > script.js
    printf '#!/usr/bin/perl\\nsleep 1000;\\n' > script.pl
    printf '#!/bin/sh\\nsleep 1000; true\\n' > script.sh
    ln -s /usr/bin/python3 renamed; chmod +x script.*`);
  const expected = new Map();
  const start = async (driver, command, args) => {
    expected.set((await vm.spawn(command, args)).pid, driver);
  };
  await start("node", "node", ["-e", "setTimeout(() => {}, 1000000)"]);
  await start("python", "python3", ["-c", "import time; time.sleep(1000)"]);
  await start("perl", "perl", ["-e", "sleep 1000"]);
  await start("native", "sleep", ["1000"]);
  await start("native", "sh", ["-c", "sleep 1000; true"]);
  await start("python", "/tmp/script.py", []);
  await start("node", "/tmp/script.js", []);
  await start("perl", "/tmp/script.pl", []);
  await start("native", "/tmp/script.sh", []);
  await start("python", "/tmp/renamed", ["-c", "import time; time.sleep(1000)"]);
  // `env` executes node only after a moment.
  await until(async () => {
    const told = new Map((await vm.allProcesses()).map(({ pid, driver }) => [pid, driver]));
    return [...expected].every(([pid, driver]) => told.get(pid) === driver);
  });
});

test("a zombie is exited, with its exit code and when it ended", async () => {
  const recorded = record(vm);
  const script = `
import os, signal, time
for end in (7, signal.SIGKILL):
    pid = os.fork()
    if pid == 0:
        if end == 7: os._exit(7)
        time.sleep(1000)
    if end != 7: os.kill(pid, end)
print("forked", flush=True)
time.sleep(1000)`;
  const before = Date.now();
  const { pid } = await vm.spawn("python3", ["-c", script]);
  await until(() => recorded.text(pid) === "forked\n");
  const zombies = await until(async () => {
    const found = (await vm.allProcesses()).filter(({ status }) => status === "exited");
    return found.length === 2 && found;
  });
  expect(zombies.map(({ exitCode }) => exitCode)).toEqual([7, 137]);
  for (const zombie of zombies) {
    expect(zombie).toMatchObject({ command: "python3", driver: "python", args: [], cwd: "", ppid: pid, rssBytes: 0 });
    expect(zombie.exitTime).toBeGreaterThanOrEqual(zombie.startTime);
    // The scheduler's clocks differ between processors.
    expect(zombie.exitTime).toBeGreaterThan(before - 2000);
    expect(zombie.exitTime).toBeLessThanOrEqual(Date.now());
  }
});

test("processTree nests them by parent", async () => {
  const { pid } = await vm.spawn("sh", ["-c", "sh -c 'sleep 1001 & sleep 1002; true' & sleep 1003; true"]);
  await vm.exec("setsid -f sleep 1004");
  // A program has its name before its arguments.
  const isSleep = ({ command, args }) => command === "sleep" && args.length === 1;
  await until(async () => (await vm.allProcesses()).filter(isSleep).length === 4);
  const shape = (nodes) =>
    nodes.map(({ command, args, children }) => [command === "sleep" ? args[0] : "sh", ...shape(children)]).sort();
  const tree = await vm.processTree();
  expect(shape(tree)).toEqual([["1004"], ["sh", ["1003"], ["sh", ["1001"], ["1002"]]]]);
  const root = tree.find((node) => node.pid === pid);
  const { children, ...plain } = root;
  expect(children).toHaveLength(2);
  expect((await vm.allProcesses()).find((process) => process.pid === pid)).toEqual({
    ...plain,
    cpuMs: expect.any(Number),
  });
});

test("names and arguments that a process made up do not disturb the listing", async () => {
  const script = (name) => `
import ctypes, time
libc = ctypes.CDLL(None)
libc.prctl(15, ${name}, 0, 0, 0)
print("named", flush=True)
time.sleep(1000)`;
  const names = ['b") Z 1 1 1"', 'b"a\\n1 (b) R"', 'b")))"', 'b"\\xff\\xfe"', 'b""', 'b"(sleep"'];
  const recorded = record(vm);
  const pids = [];
  for (const name of names) pids.push((await vm.spawn("python3", ["-c", script(name)])).pid);
  await until(() => pids.every((pid) => recorded.text(pid) === "named\n"));
  const table = await vm.allProcesses();
  expect(table.map(({ pid }) => pid).sort()).toEqual([...pids].sort());
  for (const { pid, ppid, pgid, sid, status, command, driver } of table) {
    expect({ ppid, pgid, sid, status, command, driver }).toEqual({
      ppid: 0,
      pgid: pid,
      sid: pid,
      status: "running",
      command: "python3",
      driver: "python",
    });
  }
  await Promise.all(pids.map((pid) => vm.killProcess(pid)));
  expect(await vm.allProcesses()).toEqual([]);
});

test("a process that wrote a title over its arguments keeps its program's name", async () => {
  const titled = await vm.spawn("perl", ["-e", '$0 = "perl: worker /usr/bin/perl -x y"; sleep 1000', "x".repeat(40)]);
  await until(async () => (await find("perl"))?.args.length === 0);
  expect(await find("perl")).toMatchObject({ pid: titled.pid, driver: "perl", command: "perl", args: [] });
});

test("arguments that are not UTF-8 and command lines of megabytes are listed, within bounds", async () => {
  await vm.exec(`setsid -f python3 -c 'import os; os.execv("/bin/sleep", [b"sleep", b"1001", b"0"])'`);
  await vm.exec(
    `setsid -f python3 -c 'import os; os.execv("/bin/sh", [b"sh", b"-c", b"sleep 1000; true", b"\\xff"] + [b"x" * 100000] * 15)'`,
  );
  await until(async () => (await find("sh"))?.args.length > 4);
  const shell = await find("sh");
  expect(shell.args.slice(0, 3)).toEqual(["-c", "sleep 1000; true", "\ufffd"]);
  expect(shell.args.join("").length).toBeLessThanOrEqual(128 * 1024);
  expect(shell.args.join("").length).toBeGreaterThan(100_000);
});

test("hundreds of processes are listed, each once", async () => {
  const { pid } = await vm.spawn("sh", ["-c", "i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i+1)); done; wait"]);
  await until(async () => (await vm.allProcesses()).length === 301);
  const table = await vm.allProcesses();
  expect(new Set(table.map((process) => process.pid)).size).toBe(301);
  const tree = await vm.processTree();
  expect(tree).toHaveLength(1);
  expect(tree[0].children).toHaveLength(300);
  await vm.killProcess(pid);
});
