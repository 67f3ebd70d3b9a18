"use strict";
// The kernel reports the end of a traced process to its parent only when the tracer has waited for it or has ended.

const { until } = require("../fixture/promises");
const { boot } = require("../fixture/vm");

/**
 * Traces every process that starts, and never waits for any, so that the kernel's reports of their ends stay unread.
 */
const TRACER = `
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
SEIZE = 0x4206
print("ready", flush=True)
seized = set()
while True:
    for pid in range(os.getpid() + 1, os.getpid() + 2000):
        if pid not in seized and libc.ptrace(SEIZE, pid, 0, 0) == 0:
            seized.add(pid)
            print(pid, flush=True)`;

/**
 * Starts a VM in which the tracer runs; resolves to the VM, the tracer's pid and the pids that it has seized so far.
 */
async function traced(isolation) {
  const vm = await boot({ isolation });
  let printed = "";
  const { pid } = await vm.spawn("python3", ["-c", TRACER], { onStdout: (data) => (printed += data) });
  const seized = () => printed.split("\n").slice(1, -1).map(Number);
  await until(() => printed.startsWith("ready\n"));
  return { vm, tracer: pid, seized };
}

const anyIsSeized = (seized) => until(() => seized().length > 0);

describe.each(["namespaces", "landlock"])("under %s a tracer that waits for nothing holds up", (isolation) => {
  test("no timeout", async () => {
    const { vm, seized } = await traced(isolation);
    const result = vm.exec("sleep 60", { timeout: 3000 });
    await anyIsSeized(seized);
    expect(await result).toMatchObject({ timedOut: true, exitCode: 137 });
  });

  test("no abort", async () => {
    const { vm, seized } = await traced(isolation);
    const controller = new AbortController();
    const result = vm.exec("sleep 60", { signal: controller.signal }).catch((error) => error);
    await anyIsSeized(seized);
    controller.abort();
    expect(await result).toMatchObject({ code: "ABORTED" });
  });

  test("no kill", async () => {
    const { vm, seized } = await traced(isolation);
    const { pid } = await vm.spawn("sleep", ["60"]);
    await anyIsSeized(seized);
    await vm.killProcess(pid);
    expect(await vm.waitProcess(pid)).toBe(137);
  });

  test("no shell that is closed", async () => {
    const { vm, seized } = await traced(isolation);
    const { shellId } = await vm.openShell();
    await anyIsSeized(seized);
    await vm.closeShell(shellId);
  });
});

test("a tracer that waits for the process that it traces, as debuggers do, is not killed with that process", async () => {
  const vm = await boot();
  const { pid } = await vm.spawn("sleep", ["60"]);
  let printed = "";
  const debuggerOf = `
import ctypes, os
ctypes.CDLL(None).ptrace(0x4206, ${pid}, 0, 0)
print("ready", flush=True)
# A kill may stop it first, which its tracer sees.
while True:
    status = os.waitpid(${pid}, 0x40000000)[1]
    if not os.WIFSTOPPED(status): break
print(status, flush=True)`;
  const tracer = await vm.spawn("python3", ["-c", debuggerOf], { onStdout: (data) => (printed += data) });
  await until(() => printed.startsWith("ready\n"));
  await vm.killProcess(pid);
  expect(await vm.waitProcess(pid)).toBe(137);
  expect(await vm.waitProcess(tracer.pid)).toBe(0);
  expect(printed).toBe("ready\n9\n");
});
