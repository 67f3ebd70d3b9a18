"use strict";
const { rejection, until } = require("./fixture/promises");
const { record } = require("./fixture/record");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});
afterEach(async () => {
  const left = await vm.allProcesses();
  await Promise.all(left.map(({ pid }) => vm.killProcess(pid).catch(() => {})));
});

const sleeping = async () =>
  (await vm.allProcesses())
    .filter(({ command, status }) => command === "sleep" && status !== "exited")
    .map(({ args }) => Number(args[0]))
    .sort();

/**
 * A script that starts several kinds of sleeps: in the group, in their own sessions, double-forked, ignoring signals,
 * stopped.
 */
const FAMILY = `
  sleep 1001 &
  setsid sleep 1002 &
  (setsid sh -c 'sleep 1003 & exit' &)
  (trap '' HUP INT TERM; setsid sleep 1004 &)
  sleep 1005 & (sleep 0.2; kill -STOP $!)
  python3 -c 'import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        for fd in range(3): os.close(fd)
        os.execvp("sleep", ["sleep", "1006"])
    os._exit(0)' &
  sleep 1007`;
const ALL = [1001, 1002, 1003, 1004, 1005, 1006, 1007];

test("stopProcess is SIGTERM to the group: children in it get it, sessions of their own do not", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sh", ["-c", "sleep 1001 & setsid sleep 1002 & echo ready; sleep 1003; true"]);
  await until(async () => (await sleeping()).length === 3);
  await vm.stopProcess(pid);
  expect(await vm.waitProcess(pid)).toBe(143);
  expect(recorded.exit(pid)).toMatchObject({ signal: "SIGTERM", reason: "signal" });
  await until(async () => String(await sleeping()) === "1002");
});

test("killProcess kills everything that the process started", async () => {
  const { pid } = await vm.spawn("sh", ["-c", FAMILY]);
  await until(async () => String(await sleeping()) === String(ALL));
  await vm.killProcess(pid);
  expect(await sleeping()).toEqual([]);
  expect(await vm.allProcesses()).toEqual([]);
  expect(await vm.getProcess(pid)).toMatchObject({ running: false, exitCode: 137 });
});

test("killProcess of an exited process kills what it left running", async () => {
  const { pid } = await vm.spawn("sh", ["-c", `${FAMILY} & exit 5`]);
  expect(await vm.waitProcess(pid)).toBe(5);
  await until(async () => String(await sleeping()) === String(ALL));
  await vm.killProcess(pid);
  expect(await vm.allProcesses()).toEqual([]);
  expect((await vm.getProcess(pid)).exitCode).toBe(5);
});

test("killProcess ends a process that forks without end", async () => {
  const recorded = record(vm);
  const script = "import os\nprint('on', flush=True)\nwhile True:\n  if os.fork(): os._exit(0)\n  os.setsid()";
  // Each round is a race between the search for processes and what they do.
  for (let time = 0; time < 20; time++) {
    const { pid } = await vm.spawn("python3", ["-c", script]);
    await until(() => recorded.text(pid) !== "");
    expect(await vm.waitProcess(pid)).toBe(0);
    await vm.killProcess(pid);
    expect(await vm.allProcesses()).toEqual([]);
  }
});

test("killProcess and a timeout take a process whose first thread has ended, which the kernel shows as a zombie", async () => {
  const script = `
import ctypes, os, threading, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        threading.Thread(target=time.sleep, args=(1000,)).start()
        ctypes.CDLL(None).pthread_exit(None)
    os._exit(0)
threading.Thread(target=time.sleep, args=(1000,)).start()
ctypes.CDLL(None).pthread_exit(None)`;
  const threaded = async () => (await vm.allProcesses()).filter(({ status }) => status === "running");
  const { pid } = await vm.spawn("python3", ["-c", script]);
  await until(async () => (await vm.exec("cat /proc/[0-9]*/stat")).stdout.match(/\(python3\) Z/g)?.length >= 2);
  expect(await threaded()).toHaveLength(2);
  await vm.killProcess(pid);
  expect(await vm.allProcesses()).toEqual([]);
  expect(await vm.waitProcess(pid)).toBe(137);

  const timed = await vm.spawn("python3", ["-c", script], { timeout: 1500 });
  expect(await vm.waitProcess(timed.pid)).toBe(137);
  expect(await vm.allProcesses()).toEqual([]);
});

test("one family's end leaves others alone", async () => {
  const other = await vm.spawn("sh", ["-c", "sleep 2001 & setsid sleep 2002 & sleep 2003"]);
  const { pid } = await vm.spawn("sh", ["-c", FAMILY]);
  await until(async () => (await sleeping()).length === ALL.length + 3);
  await vm.killProcess(pid);
  expect(await sleeping()).toEqual([2001, 2002, 2003]);
  expect((await vm.getProcess(other.pid)).running).toBe(true);
});

test("stop, kill and signal take any pid that allProcesses lists, by its group where it leads one", async () => {
  await vm.exec("sleep 1001 & setsid sh -c 'sleep 1002 & sleep 1003; true' & setsid sleep 1004 &");
  await until(async () => String(await sleeping()) === "1001,1002,1003,1004");
  const of = async (text) => (await vm.allProcesses()).find(({ args }) => args.at(-1)?.includes(text)).pid;
  await vm.stopProcess(await of("1001"));
  await until(async () => String(await sleeping()) === "1002,1003,1004");
  // The shell leads a session, and so a process group, with two members.
  await vm.signalProcess(await of("sleep 1003"), "SIGKILL");
  await until(async () => String(await sleeping()) === "1004");
  await vm.killProcess(await of("1004"));
  expect(await sleeping()).toEqual([]);
});

test("signals stop a process and continue it", async () => {
  const { pid } = await vm.spawn("sleep", ["1000"]);
  const status = async () => (await vm.allProcesses()).find((process) => process.pid === pid).status;
  expect(await status()).toBe("running");
  await vm.signalProcess(pid, "SIGSTOP");
  await until(async () => (await status()) === "stopped");
  expect(await vm.getProcess(pid)).toMatchObject({ running: true, exitCode: null });
  await vm.signalProcess(pid, "SIGCONT");
  await until(async () => (await status()) === "running");
});

test("on an exited process stop, kill and signal do nothing, also a second time", async () => {
  const { pid } = await vm.spawn("sh", ["-c", "exit 3"]);
  await vm.waitProcess(pid);
  for (let i = 0; i < 2; i++) {
    await vm.stopProcess(pid);
    await vm.killProcess(pid);
    await vm.signalProcess(pid, "SIGHUP");
  }
  expect(await vm.getProcess(pid)).toEqual({ pid, command: "sh", args: ["-c", "exit 3"], running: false, exitCode: 3 });
});

test("the pids of init, of threads and of no process are not found", async () => {
  const script =
    "import threading,time\nt=threading.Thread(target=time.sleep,args=(1000,))\nt.start()\nprint(t.native_id,flush=True)";
  const recorded = record(vm);
  const { pid } = await vm.spawn("python3", ["-c", script]);
  const thread = Number(await until(() => recorded.text(pid)));
  for (const number of [1, thread, 99999, 0x7fffffff]) {
    for (const call of [
      () => vm.stopProcess(number),
      () => vm.killProcess(number),
      () => vm.signalProcess(number, "SIGKILL"),
      () => vm.getProcess(number),
      () => vm.waitProcess(number),
      () => vm.readProcessOutput(number),
      () => vm.writeProcessStdin(number, "x"),
      () => vm.closeProcessStdin(number),
    ]) {
      const error = await rejection(call());
      expect(error).toMatchObject({ code: "PROCESS_NOT_FOUND", message: `Process not found: ${number}` });
    }
  }
  expect((await vm.getProcess(pid)).running).toBe(true);
  expect((await vm.exec("echo on")).stdout).toBe("on\n");
});

test("calls about spawned processes do not take those that were not", async () => {
  const { background } = await vm.exec("sleep 1000 &");
  expect(await rejection(vm.getProcess(background[0].pid))).toMatchObject({ code: "PROCESS_NOT_FOUND" });
  expect(await rejection(vm.waitProcess(background[0].pid))).toMatchObject({ code: "PROCESS_NOT_FOUND" });
});
