"use strict";
// A program makes it costly, or impossible, to see what it waits for.

const os = require("node:os");

const { rejection, until } = require("../fixture/promises");
const { boot } = require("../fixture/vm");

/** Python whose memory is locked nearly all the time, while its first thread waits for the terminal. */
const locked = `
import ctypes, os, select, threading
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
for _ in range(4 * ${os.cpus().length}):
    if os.fork() == 0:
        while True: pass
def hold():
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        at = libc.mmap(None, 256 << 20, 3, 0x8022, -1, 0)
        libc.munmap(at, 256 << 20)
threading.Thread(target=hold, daemon=True).start()
print("lo" + "cked", flush=True)
while True: select.select([0], [], [])
`;

test("a program that keeps its memory locked holds up its own VM's look alone", async () => {
  const [vm, neighbour] = [await boot(), await boot()];
  let shown = "";
  vm.on("shellData", ({ data }) => (shown += Buffer.from(data)));
  vm.on("shellWaiting", () => {});
  await vm.writeFile("/home/user/locked.py", locked);
  const { shellId } = await vm.openShell({ command: "python3", args: ["/home/user/locked.py"] });
  await until(() => shown.includes("locked"));
  // More than the VM has threads for; whether the look ends is the program's affair.
  const waits = Array.from({ length: 12 }, () => rejection(vm.waitForIdle(shellId, { timeout: 1000 })));
  const { shellId: other } = await neighbour.openShell({ command: "sh" });
  await neighbour.waitForIdle(other);
  expect((await neighbour.exec("echo served")).stdout).toBe("served\n");
  expect((await vm.exec("echo served")).stdout).toBe("served\n");
  await Promise.allSettled(waits);
  await vm.dispose();
}, 120_000);

test("many processes in a foreground, and many threads of one, cost a bounded look", async () => {
  const vm = await boot();
  let shown = "";
  vm.on("shellData", ({ data }) => (shown += Buffer.from(data)));
  const script = `
import os, threading, time
for _ in range(1000):
    if os.fork() == 0:
        time.sleep(1000)
        os._exit(0)
for _ in range(1000): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("mul" + "tiplied", flush=True)
time.sleep(1000)`;
  await vm.writeFile("/home/user/many.py", script);
  const { shellId } = await vm.openShell({ command: "python3", args: ["/home/user/many.py"] });
  await until(() => shown.includes("multiplied"));
  expect(await rejection(vm.waitForIdle(shellId, { timeout: 500 }))).toMatchObject({ code: "ETIMEDOUT" });
  // Input that it does not read changes nothing; it ends by the signal that the terminal makes of it.
  await vm.writeShell(shellId, "\x03");
  expect((await vm.exec("echo served")).stdout).toBe("served\n");
});
