"use strict";
const { pythonJson, systemCallNumbers } = require("../fixture/guest-programs");
const { hostProgram } = require("../fixture/host-program");
const { descendants, inits } = require("../fixture/processes");
const { until } = require("../fixture/promises");
const { boot, output } = require("../fixture/vm");

const landlock = { isolation: "landlock" };

const CALLS = systemCallNumbers({
  tgkill: [234, 131],
  rt_sigqueueinfo: [129, 138],
  pidfd_open: [434],
  pidfd_send_signal: [424],
  pidfd_getfd: [438],
  process_vm_readv: [310, 270],
  prlimit64: [302, 261],
  setpriority: [141, 140],
  ioprio_set: [251, 30],
  sched_setaffinity: [203, 122],
  sched_setscheduler: [144, 119],
});

/** Everything that a program could try on a process outside its VM, with the error of each attempt. */
const ATTACKS = `
room = ctypes.create_string_buffer(64)
class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
mine, theirs = iovec(ctypes.addressof(room), 8), iovec(0x400000, 8)
def attack(pid):
    pidfd = libc.syscall(calls["pidfd_open"], pid, 0)
    info = (ctypes.c_int * 32)(9, 0, -1)
    import fcntl, signal
    ours, other = os.pipe()
    def own():
        fcntl.fcntl(ours, fcntl.F_SETOWN, pid)
        fcntl.fcntl(ours, 10, signal.SIGKILL)          # F_SETSIG
        fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC)
        os.write(other, b"x")
    attempt(own)                                       # whatever it says, nobody may die of it
    return {
        "kill": call(libc.kill, pid, 9),
        "kill 0": call(libc.kill, pid, 0),
        "tgkill": call(calls["tgkill"], pid, pid, 9),
        "rt_sigqueueinfo": call(calls["rt_sigqueueinfo"], pid, 9, ctypes.byref(info)),
        "pidfd_send_signal": call(calls["pidfd_send_signal"], pidfd, 9, None, 0),
        "PTRACE_ATTACH": call(libc.ptrace, 16, pid, 0, 0),
        "PTRACE_SEIZE": call(libc.ptrace, 0x4206, pid, 0, 0),
        "process_vm_readv": call(calls["process_vm_readv"], pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0),
        "pidfd_getfd": call(calls["pidfd_getfd"], pidfd, 0, 0),
        "prlimit64": call(calls["prlimit64"], pid, 0, (ctypes.c_ulong * 2)(1, 1), None),
        "setpriority": call(calls["setpriority"], 0, pid, 19),
        "setpriority of a user's": call(calls["setpriority"], 2, 0, 19),
        "ioprio_set": call(calls["ioprio_set"], 1, pid, 3 << 13),
        "sched_setaffinity": call(calls["sched_setaffinity"], pid, 8, (ctypes.c_ulong * 1)(1)),
        "sched_setscheduler": call(calls["sched_setscheduler"], pid, 5, (ctypes.c_int * 1)(0)),
    }`;

test("no process outside is signalled, traced, read or slowed: not the server, init, or a process of another VM", async () => {
  const before = descendants(process.pid);
  const vm = await boot(landlock);
  const { init } = inits(before);
  const other = await boot(landlock);
  const { pid: theirs } = await other.spawn("sleep", ["1000"]);
  const { child } = await hostProgram("import time; print('ready', flush=True); time.sleep(1000)");
  const targets = { server: process.pid, init, theirs, bystander: child.pid };
  const results = await pythonJson(
    vm,
    { calls: CALLS, targets },
    `${ATTACKS}\nprint(json.dumps({name: attack(pid) for name, pid in targets.items()}))`,
  );
  for (const [name, errors] of Object.entries(results)) {
    const refused = Object.fromEntries(Object.keys(errors).map((attack) => [attack, "EPERM"]));
    expect({ name, ...errors }).toEqual({ name, ...refused });
  }
  expect(child.exitCode).toBe(null);
  expect(child.signalCode).toBe(null);
  expect((await other.getProcess(theirs)).running).toBe(true);
});

test("a signal to all processes reaches only the VM's own, and the VM continues", async () => {
  const [vm, other] = await Promise.all([boot(landlock), boot(landlock)]);
  const [mine, theirs] = await Promise.all([vm.spawn("sleep", ["1000"]), other.spawn("sleep", ["1000"])]);
  await vm.exec("kill -9 -1");
  expect(await vm.waitProcess(mine.pid)).toBe(137);
  expect((await other.getProcess(theirs.pid)).running).toBe(true);
  expect(await output(vm, "echo alive")).toBe("alive\n");
});

test("processes that one command started can be signalled, traced and reached by another command", async () => {
  const vm = await boot(landlock);
  const { pid } = await vm.spawn("sleep", ["1000"]);
  const results = await pythonJson(
    vm,
    { pid },
    `
first = call(libc.ptrace, 16, pid, 0, 0)
os.waitpid(pid, 0x40000000)
print(json.dumps([first, call(libc.ptrace, 17, pid, 0, 0)]))`,
  );
  expect(results).toEqual(["worked", "worked"]);
  await output(vm, `kill -TERM ${pid}`);
  expect(await vm.waitProcess(pid)).toBe(143);
});

test.each(["KILL", "STOP", "TERM", "ABRT"])(
  "SIG%s to init's deputy, which programs can send, costs the VM nothing",
  async (signal) => {
    const before = descendants(process.pid);
    const vm = await boot(landlock);
    const { init, deputy } = inits(before);
    const { pid } = await vm.spawn("cat");
    await output(vm, `kill -${signal} ${deputy}`);
    expect(await output(vm, "echo $((1 + 1)) > sum; chmod 600 sum; cat sum")).toBe("2\n");
    const home = (await output(vm, "pwd")).trim();
    expect(Buffer.from(await vm.readFile(`${home}/sum`)).toString()).toBe("2\n");
    const next = inits(before);
    expect(next.init).toBe(init);
    expect(next.deputy === deputy).toBe(signal === "STOP");
    // The other process is not listed and cannot be named.
    expect((await vm.allProcesses()).map((process) => process.command)).toEqual(["cat"]);
    await expect(vm.killProcess(next.deputy)).rejects.toMatchObject({ code: "PROCESS_NOT_FOUND" });
    await expect(vm.killProcess(init)).rejects.toMatchObject({ code: "PROCESS_NOT_FOUND" });
    // Programs from before the restart still belong to the VM.
    await vm.writeProcessStdin(pid, "x");
    await vm.killProcess(pid);
    expect(await vm.waitProcess(pid)).toBe(137);
  },
);

test("no program can trace or read init's deputy", async () => {
  const before = descendants(process.pid);
  const vm = await boot(landlock);
  const { deputy } = inits(before);
  const results = await pythonJson(
    vm,
    { calls: CALLS, deputy },
    `
pidfd = os.pidfd_open(deputy)
print(json.dumps([
    call(libc.ptrace, 16, deputy, 0, 0),
    call(libc.ptrace, 0x4206, deputy, 0, 0),
    call(calls["pidfd_getfd"], pidfd, 3, 0),
    call(calls["prlimit64"], deputy, 7, (ctypes.c_ulong * 2)(0, 0), None),
]))`,
  );
  expect(results).toEqual(Array(4).fill("EPERM"));
});

test("killing a process takes what it started, and the process table has the VM's processes alone", async () => {
  const vm = await boot(landlock);
  expect(await vm.allProcesses()).toEqual([]);
  const { pid } = await vm.spawn("sh", ["-c", "sleep 1000 & setsid -f sleep 1001; wait"]);
  await until(async () => (await vm.allProcesses()).filter(({ command }) => command === "sleep").length === 2);
  const tree = await vm.processTree();
  expect(tree.find((node) => node.pid === pid)).toMatchObject({ ppid: 0, command: "sh" });
  await vm.killProcess(pid);
  expect(await vm.allProcesses()).toEqual([]);
  await expect(vm.killProcess(process.pid)).rejects.toMatchObject({ code: "PROCESS_NOT_FOUND" });
  await expect(vm.signalProcess(process.pid, "SIGTERM")).rejects.toMatchObject({ code: "PROCESS_NOT_FOUND" });
});

test("a fork bomb ends at the VM's limit of processes, and the VM continues", async () => {
  const count = Number(
    (await output(await boot({ isolation: "none" }), "ps -eLo uid= | grep -cw $(id -u) || true")).trim(),
  );
  // If the server is an ordinary user, its own processes count too.
  const pids = 64 + (process.getuid() === 0 ? 0 : count);
  const vm = await boot({ ...landlock, limits: { pids } });
  const script = `
import os, time
made = 0
try:
    while made < 10000:
        if os.fork() == 0:
            time.sleep(1000)
        made += 1
except OSError as error:
    print(error.strerror, made < ${pids}, flush=True)
    os.killpg(0, 9)`;
  expect(await vm.execFile("python3", ["-c", script])).toMatchObject({
    stdout: "Resource temporarily unavailable True\n",
    signal: "SIGKILL",
  });
  expect(await output(vm, "echo alive")).toBe("alive\n");
});
