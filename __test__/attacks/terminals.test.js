"use strict";
// A program makes it costly, or impossible, to see what it waits for.

const os = require("node:os");

const { rejection, until } = require("../fixture/promises");
const { nodeScript } = require("../fixture/server-process");
const { seesRoot } = require("../fixture/subordinate");
const { boot } = require("../fixture/vm");

const UNSEEN = { code: "ISOLATION_UNAVAILABLE" };

/** Waits until the shell waits for input, where the server can see that. */
async function idle(vm, shellId) {
  if (seesRoot(vm)) return vm.waitForIdle(shellId);
  expect(await rejection(vm.waitForIdle(shellId))).toMatchObject(UNSEEN);
}

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
  await idle(neighbour, other);
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
  expect(await rejection(vm.waitForIdle(shellId, { timeout: 500 }))).toMatchObject(
    seesRoot(vm) ? { code: "ETIMEDOUT" } : UNSEEN,
  );
  // Input that it does not read changes nothing; it ends by the signal that the terminal makes of it.
  await vm.writeShell(shellId, "\x03");
  expect((await vm.exec("echo served")).stdout).toBe("served\n");
});

/** Python of which a look takes long: threads that each wait for a thousand pipes. */
const heavy = `
import os, select, threading
reader, _ = os.pipe()
pipes = [os.dup(reader) for _ in range(1000)]
def wait():
    poll = select.poll()
    for pipe in pipes: poll.register(pipe, select.POLLIN)
    poll.poll()
for _ in range(15):
    if os.fork() == 0: break
for _ in range(40): threading.Thread(target=wait).start()
print("wai" + "ting", flush=True)
wait()
`;

test("waits that give up leave one look behind at most", async () => {
  const { ended } = nodeScript(`
    const fs = require("node:fs");
    // The threads on which the host does what may have to wait for programs.
    const threads = () => fs.readdirSync("/proc/self/task").filter((task) =>
      fs.readFileSync("/proc/self/task/" + task + "/comm", "utf8") === "agent-vm-file\\n").length;
    const vm = await AgentVm.create();
    let shown = "";
    vm.on("shellData", ({ data }) => (shown += Buffer.from(data)));
    const { shellId } = await vm.openShell({ command: "python3", args: ["-c", ${JSON.stringify(heavy)}] });
    while (shown.split("waiting").length <= 16) await new Promise((resolve) => setTimeout(resolve, 10));
    const codes = new Set();
    let most = 0;
    for (let turn = 0; turn < 50; turn++) {
      await vm.waitForIdle(shellId, { timeout: 2 }).catch(({ code }) => codes.add(code));
      most = Math.max(most, threads());
    }
    const { stdout } = await vm.exec("echo content > /tmp/file; echo served");
    const content = (await vm.readFile("/tmp/file")).toString();
    await vm.dispose();
    console.log(JSON.stringify({ codes: [...codes], most, stdout, content }));
    process.exit();`);
  const { stdout, stderr } = await ended;
  expect(stderr).toBe("");
  const found = { codes: ["ETIMEDOUT"], most: 1, stdout: "served\n", content: "content\n" };
  expect(JSON.parse(stdout)).toEqual(found);
}, 60_000);

test("a program that forbids to look at itself does not count as waiting, and the shell below it does", async () => {
  const vm = await boot();
  let shown = "";
  vm.on("shellData", ({ data }) => (shown += Buffer.from(data)));
  const { shellId } = await vm.openShell({ command: "bash" });
  await idle(vm, shellId);
  const script =
    "import ctypes, time; ctypes.CDLL(None).prctl(4, 0); print('hid' + 'den', flush=True); time.sleep(1000)";
  await vm.writeShell(shellId, `python3 -c "${script}"\n`);
  await until(() => shown.includes("hidden"));
  expect(await rejection(vm.waitForIdle(shellId, { timeout: 500 }))).toMatchObject(
    seesRoot(vm) ? { code: "ETIMEDOUT" } : UNSEEN,
  );
  await vm.writeShell(shellId, "\x03");
  await idle(vm, shellId);
});
