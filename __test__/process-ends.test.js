"use strict";
const { rejection, until } = require("./fixture/promises");
const { record, run } = require("./fixture/record");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const commands = async () => (await vm.allProcesses()).map(({ command, args }) => [command, ...args].join(" "));

test.each([0, 1, 42, 126, 255])("exit status %i is the exit code", async (status) => {
  const recorded = record(vm);
  const { pid, exitCode } = await run(vm, `exit ${status}`);
  expect(exitCode).toBe(status);
  const { exited } = await vm.readProcessOutput(pid);
  expect(recorded.exit(pid)).toEqual({ type: "exit", pid, ...exited });
  expect(exited).toMatchObject({ exitCode: status, signal: null, reason: "exited" });
});

test.each([
  ["SIGHUP", 129],
  ["SIGINT", 130],
  ["SIGABRT", 134],
  ["SIGKILL", 137],
  ["SIGSEGV", 139],
  ["SIGTERM", 143],
  ["SIGSYS", 159],
])("a process that %s ends has the exit code %i, the signal's name and the reason signal", async (signal, exitCode) => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sleep", ["1000"]);
  await vm.signalProcess(pid, signal);
  expect(await vm.waitProcess(pid)).toBe(exitCode);
  expect(recorded.exit(pid)).toMatchObject({ exitCode, signal, reason: "signal" });
});

test("waitProcessExit resolves to the exit status of the event, after it and also later", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sh", ["-c", "kill -USR1 $$"]);
  const status = await vm.waitProcessExit(pid);
  expect({ type: "exit", pid, ...status }).toEqual(recorded.exit(pid));
  expect(status).toMatchObject({ exitCode: 138, signal: "SIGUSR1", reason: "signal" });
  expect(await vm.waitProcessExit(pid)).toEqual(status);
  expect(await rejection(vm.waitProcessExit(99_999))).toMatchObject({ code: "PROCESS_NOT_FOUND" });
});

test("a process that handles its signal exits with its own code", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sh", [
    "-c",
    "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done",
  ]);
  await until(() => recorded.text(pid) === "ready\n");
  await vm.stopProcess(pid);
  expect(await vm.waitProcess(pid)).toBe(7);
  expect(recorded.exit(pid)).toMatchObject({ exitCode: 7, signal: null, reason: "exited" });
  // The shell may print its child's end to stderr.
  expect(recorded.text(pid, "stdout")).toBe("ready\ncaught\n");
});

test("usage has the processor time and memory of the process and of the children it waited for", async () => {
  const recorded = record(vm);
  const script = "b = bytearray(120_000_000)\nfor i in range(3_000_000): pass";
  const alone = await vm.spawn("python3", ["-c", script]);
  const parent = await vm.spawn("sh", ["-c", `python3 -c '${script}'; true`]);
  const idle = await vm.spawn("sleep", ["0.2"]);
  await Promise.all([alone, parent, idle].map(({ pid }) => vm.waitProcess(pid)));
  for (const { pid } of [alone, parent]) {
    const { usage } = recorded.exit(pid);
    expect(usage.userMs + usage.systemMs).toBeGreaterThan(20);
    expect(usage.userMs + usage.systemMs).toBeLessThan(30_000);
    expect(usage.maxRssBytes).toBeGreaterThan(120_000_000);
    expect(usage.maxRssBytes).toBeLessThan(300_000_000);
  }
  const { usage } = recorded.exit(idle.pid);
  expect(usage.userMs + usage.systemMs).toBeLessThan(1000);
  expect(usage.maxRssBytes).toBeGreaterThan(0);
  expect(usage.maxRssBytes).toBeLessThan(50_000_000);
});

test("a timeout kills everything the process started, keeps what was written, and is the reason", async () => {
  const recorded = record(vm);
  const script = "echo before; setsid sleep 1001 & (setsid sleep 1002 &) ; trap '' TERM; sleep 1003; sleep 1004";
  const { pid } = await vm.spawn("sh", ["-c", script], { timeout: 1000 });
  expect(await vm.waitProcess(pid)).toBe(137);
  expect(recorded.exit(pid)).toMatchObject({ exitCode: 137, signal: "SIGKILL", reason: "timeout" });
  expect(recorded.text(pid)).toBe("before\n");
  expect(await commands()).toEqual([]);
});

test("a process that ends in time is not affected by its timeout, and 0 means no timeout", async () => {
  const recorded = record(vm);
  const quick = await vm.spawn("true", [], { timeout: 60_000 });
  const unbounded = await vm.spawn("sleep", ["0.3"], { timeout: 0 });
  expect(await vm.waitProcess(quick.pid)).toBe(0);
  expect(await vm.waitProcess(unbounded.pid)).toBe(0);
  expect(recorded.exit(quick.pid).reason).toBe("exited");
  expect(recorded.exit(unbounded.pid).reason).toBe("exited");
});

test("an abort kills everything the process started, with the reason signal", async () => {
  const recorded = record(vm);
  const controller = new AbortController();
  const script = "setsid sleep 1001 & (setsid sleep 1002 &) ; echo ready; sleep 1003";
  const { pid } = await vm.spawn("sh", ["-c", script], { signal: controller.signal });
  await until(() => recorded.text(pid) === "ready\n");
  controller.abort();
  expect(await vm.waitProcess(pid)).toBe(137);
  expect(recorded.exit(pid)).toMatchObject({ exitCode: 137, signal: "SIGKILL", reason: "signal" });
  await until(async () => (await commands()).length === 0);
});

test("an abort before or in the middle of the start leaves nothing running, one after the end does nothing", async () => {
  expect((await rejection(vm.spawn("sleep", ["1000"], { signal: AbortSignal.abort() }))).code).toBe("ABORTED");
  const during = new AbortController();
  const started = vm.spawn("sleep", ["1000"], { signal: during.signal });
  during.abort();
  const { pid } = await started;
  expect(await vm.waitProcess(pid)).toBe(137);
  const after = new AbortController();
  const done = await vm.spawn("sh", ["-c", "sleep 0.5 & exit 3"], { signal: after.signal });
  expect(await vm.waitProcess(done.pid)).toBe(3);
  after.abort();
  await until(async () => String(await commands()) === "sleep 0.5");
  await until(async () => (await commands()).length === 0);
});

test("onStdout, onStderr and the events all fire", async () => {
  const recorded = record(vm);
  const heard = { stdout: "", stderr: "" };
  const { pid } = await vm.spawn("sh", ["-c", "echo out; echo err >&2"], {
    onStdout: (data) => (heard.stdout += String(data)),
    onStderr: (data) => (heard.stderr += String(data)),
  });
  await vm.waitProcess(pid);
  expect(heard).toEqual({ stdout: "out\n", stderr: "err\n" });
  expect([recorded.text(pid, "stdout"), recorded.text(pid, "stderr")]).toEqual(["out\n", "err\n"]);
});

test("activeCount counts processes that run, not what they left in the background", async () => {
  const counting = await bootForFile();
  expect(counting.activeCount).toBe(0);
  const { pid } = await counting.spawn("sleep", ["1000"]);
  const left = await counting.spawn("sh", ["-c", "sleep 1000 & echo done"]);
  await counting.waitProcess(left.pid);
  expect(counting.activeCount).toBe(1);
  let seen;
  counting.once("processExit", () => (seen = counting.activeCount));
  await counting.killProcess(pid);
  expect(seen).toBe(0);
  expect(counting.activeCount).toBe(0);
  expect(await counting.allProcesses()).toHaveLength(1);
});

test("a program that is not there, a missing cwd and what may not be executed reject, and start nothing", async () => {
  expect(await rejection(vm.spawn("no-such-program"))).toMatchObject({ code: "ENOENT", path: "no-such-program" });
  expect((await rejection(vm.spawn("true", [], { cwd: "/not/there" }))).code).toBe("ENOENT");
  expect((await rejection(vm.spawn("/etc/passwd"))).code).toBe("EACCES");
  expect(vm.activeCount).toBe(0);
});

test("env is added to the VM's, its PATH finds the program, and cwd is where it starts", async () => {
  await vm.exec(
    "mkdir -p /tmp/bin && printf '#!/bin/sh\\necho found $ADDED $USER; pwd' > /tmp/bin/mine && chmod +x /tmp/bin/mine",
  );
  const recorded = record(vm);
  const { pid } = await vm.spawn("mine", [], { env: { PATH: "/tmp/bin:/usr/bin:/bin", ADDED: "x" }, cwd: "/tmp" });
  await vm.waitProcess(pid);
  expect(recorded.text(pid)).toBe("found x user\n/tmp\n");
});
