"use strict";
// A program holds the lock of a file: it writes the file at the lowest priority, while others of its VM keep every processor busy.
// A process that needs the lock, to empty the file or to change its mode, waits, and not even SIGKILL ends the wait. Commands, timeouts,
// kills and the VM's end do not wait, nor do other VMs.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { finished } = require("node:stream/promises");

const { descendants, running } = require("../fixture/processes");
const { sleep, until } = require("../fixture/promises");
const { nodeScript } = require("../fixture/server-process");
const { boot } = require("../fixture/vm");

/**
 * Python that holds the lock of `file`, and says so. Everybody may write to the file: with a range of ids, file calls of an ordinary
 * user's server act as `user`, also where programs are root's.
 */
const holder = (file) => `
import os, sys
fd = os.open(${JSON.stringify(file)}, os.O_CREAT | os.O_RDWR)
os.fchmod(fd, 0o666)
block = bytes(256 << 20)
for _ in range(4 * os.cpu_count()):
    if os.fork() == 0:
        while True: pass
if os.fork() == 0:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print("on", flush=True)
    while True: os.pwrite(fd, block, 0)
os.wait()
`;

const settled = (promise) => {
  const found = { isSettled: false };
  promise.then(
    () => (found.isSettled = true),
    () => (found.isSettled = true),
  );
  return found;
};

/** Makes the call until one of them waits: the program may not have taken the lock yet, or be between two writes. */
const heldUp = (call) =>
  until(async () => {
    const one = settled(call());
    await sleep(300);
    return !one.isSettled && one;
  }, 150);

let shown;
beforeEach(() => {
  shown = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-test-"));
  fs.chmodSync(shown, 0o777);
});
afterEach(() => fs.rmSync(shown, { recursive: true }));

/** A VM in which the lock of `held` is held. */
async function held(options) {
  const vm = await boot(options);
  const { stdout: home } = await vm.exec('printf %s "$HOME"');
  const file = `${home}/held`;
  let said = "";
  vm.on("processOutput", ({ data }) => (said += Buffer.from(data)));
  await vm.spawn("python3", ["-c", holder(file)]);
  await until(() => said !== "");
  expect(said).toBe("on\n");
  return { vm, file };
}

/** Commands, timeouts and kills of a VM. */
const commands = (vm) => [
  vm.exec("echo still").then(({ stdout }) => expect(stdout).toBe("still\n")),
  vm.exec("sleep 1000", { timeout: 10 }).then(({ timedOut }) => expect(timedOut).toBe(true)),
  vm.spawn("sleep", ["1000"]).then(async ({ pid }) => {
    await vm.killProcess(pid);
    await vm.waitProcess(pid);
  }),
];

/** Fails unless these calls of a VM, those of another one, and the end of both are served. */
async function expectService(vm, calls, meanwhile = () => []) {
  const neighbour = await boot({});
  await Promise.all([
    ...calls,
    neighbour.writeFile("/tmp/file", "x").then(() => neighbour.readFile("/tmp/file")),
    neighbour.exec("true"),
    boot({}).then((another) => another.dispose()),
  ]);
  const over = meanwhile();
  await vm.dispose();
  await neighbour.dispose();
  return over;
}

/** As `expectService`, of a VM whose calls `waiting` wait for a lock. Returns which of these are over by then. */
const expectServiceBeside = (vm, waiting) =>
  expectService(vm, [...commands(vm), vm.allProcesses(), vm.stats()], () => waiting.map((one) => one.isSettled));

/** How often a lock may turn out to be free. */
const ATTEMPTS = 6;

/**
 * Makes attempts, each of which resolves to the calls that were over when everything else was done, until some of these still
 * waited. Otherwise the lock was not held, and nothing was shown. Everything else must be done in every attempt.
 */
async function whileSomeWait(attempt) {
  for (let left = ATTEMPTS; left > 0; left--) if ((await attempt()).includes(false)) return;
  throw new Error(`no call waited to the end in ${ATTEMPTS} attempts`);
}

const levels = [
  ["namespaces", {}],
  ["landlock", { isolation: "landlock" }],
];

test.each(levels)(
  "a program that holds the lock of a file holds up the server's calls on that file alone (%s)",
  (_level, options) =>
    whileSomeWait(async () => {
      const { vm, file } = await held(options);
      const write = () => vm.writeFile(file, "x");
      const first = await heldUp(write);
      // More than the VM has threads for.
      const calls = [
        write,
        () => vm.appendFile(file, "x"),
        () => vm.truncate(file, 1),
        () => vm.chmod(file, 0o600),
        () => vm.utimes(file, 1, 2),
        () => vm.copy(`${file}-other`, file),
        () => finished(vm.createWriteStream(file, { flags: "r+" }).end("x")),
      ];
      await vm.writeFile(`${file}-other`, "x");
      const waiting = [first, ...[...calls, ...calls].map((call) => settled(call()))];
      return expectServiceBeside(vm, waiting);
    }),
  240_000,
);

test.each([
  // There the kernel asks about such modes alone.
  ["namespaces", "2755", () => ({ mounts: [{ path: "/shown", hostPath: shown }] })],
  ["landlock", "600", () => ({ isolation: "landlock" })],
])(
  "a program that holds the lock of a file holds up those that change its mode alone (%s)",
  (_level, mode, options) =>
    whileSomeWait(async () => {
      const { vm, file } = await held(options());
      const change = () => vm.exec(`chmod ${mode} ${file}`);
      const waiting = [await heldUp(change), settled(change())];
      return expectServiceBeside(vm, waiting);
    }),
  240_000,
);

/**
 * Python that holds the lock of `directory`: it lists the directory into memory whose lock it holds, and others wait to change
 * the directory, so that who looks a new name up there waits behind them.
 */
const directoryHolder = (directory) => `
import ctypes, mmap, os, threading
directory = ${JSON.stringify(directory)}
os.makedirs(directory)
for number in range(2000): open(f"{directory}/{number}", "w").close()
libc = ctypes.CDLL(None, use_errno=True)
size = 256 << 20
block = mmap.mmap(-1, size)
block.write(bytes(size))
address = ctypes.addressof(ctypes.c_char.from_buffer(block))
for _ in range(4 * os.cpu_count()):
    if os.fork() == 0:
        while True: pass
for _ in range(2):
    if os.fork() == 0:
        while True:
            os.mkdir(f"{directory}/made-{os.getpid()}")
            os.rmdir(f"{directory}/made-{os.getpid()}")
def list_it():
    fd = os.open(directory, os.O_RDONLY)
    while True:
        os.lseek(fd, 0, 0)
        libc.syscall(${process.arch === "x64" ? 217 : 61}, fd, ctypes.c_void_p(address), 1 << 20)
for _ in range(2): threading.Thread(target=list_it, daemon=True).start()
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
print("on", flush=True)
while True:
    for right in (mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE): libc.mprotect(ctypes.c_void_p(address), size, right)
`;

/** A VM with a program that holds the lock of the directory `held` in its home, and the pid of that program. */
async function heldDirectory(options) {
  const vm = await boot(options);
  const { stdout: home } = await vm.exec('printf %s "$HOME"');
  let said = "";
  vm.on("processOutput", ({ data }) => (said += Buffer.from(data)));
  const { pid } = await vm.spawn("python3", ["-c", directoryHolder(`${home}/held`)]);
  await until(() => said !== "");
  expect(said).toBe("on\n");
  return { vm, home, pid };
}

/** Ways to start a program for which a new name in the held directory is looked up. */
const ways = {
  "as working directory": ({ vm }, missing) => vm.exec("true", { cwd: missing }),
  "by path": ({ vm }, missing) => vm.execFile(missing),
  "on PATH": ({ vm }, missing) => vm.execFile("true", [], { env: { PATH: `${missing}:/usr/bin:/bin` } }),
  "as interpreter": async ({ vm, home }, missing) => {
    const script = `${home}/${missing.replaceAll("/", "-")}`;
    await vm.writeFile(script, `#!${missing}\n`);
    await vm.chmod(script, 0o700);
    return vm.execFile(script);
  },
};

// Another name each time: some file systems keep in mind that a name is missing.
let names = 0;
const startIn = (place, way) => ways[way](place, `${place.home}/held/missing-${names++}`);

test.each(levels)(
  "a program that holds the lock of a directory holds up the starts that look a new name up there alone (%s)",
  (_level, options) =>
    whileSomeWait(async () => {
      const place = await heldDirectory(options);
      const waiting = [];
      for (const way of Object.keys(ways)) {
        waiting.push(await heldUp(() => startIn(place, way)), settled(startIn(place, way)));
      }
      const over = await expectServiceBeside(place.vm, waiting);
      // The VM's end is theirs, too.
      await until(() => waiting.every((one) => one.isSettled));
      return over;
    }),
  240_000,
);

test.each(levels)(
  "a start that waits for a lock can be aborted, has a timeout, and goes on when the lock is free (%s)",
  async (_level, options) => {
    const place = await heldDirectory(options);
    const { vm, home, pid } = place;
    const PATH = () => `${home}/held/missing-${names++}:/usr/bin:/bin`;
    // It may not have had to wait: then it is tried again.
    const ends = (start, isIt) => until(async () => isIt(await start().catch((error) => error)), 150);
    const cwd = () => `${home}/held/missing-${names++}`;
    for (const command of [() => ({ env: { PATH: PATH() } }), () => ({ cwd: cwd() })]) {
      const start = (more) => vm.execFile("true", [], { ...command(), ...more });
      await ends(
        () => start({ signal: AbortSignal.timeout(100) }),
        ({ code }) => code === "ABORTED",
      );
      await ends(
        () => start({ timeout: 10 }),
        ({ timedOut, exitCode, signal, stdout }) => timedOut && exitCode === 137 && signal === "SIGKILL" && !stdout,
      );
    }
    await ends(
      () => vm.spawn("true", [], { env: { PATH: PATH() }, timeout: 10 }),
      ({ code }) => code === "ETIMEDOUT",
    );

    let last;
    await heldUp(() => (last = vm.execFile("true", [], { env: { PATH: PATH() } })));
    await vm.killProcess(pid);
    expect(await last).toMatchObject({ exitCode: 0, timedOut: false });
    await expect(startIn(place, "by path")).rejects.toMatchObject({ code: "ENOENT", syscall: "execve" });
    await expect(startIn(place, "as working directory")).rejects.toMatchObject({ code: "ENOENT", syscall: "chdir" });
    expect(await startIn(place, "on PATH")).toMatchObject({ exitCode: 0 });
    // Nothing is left of those that were given up.
    await until(async () => (await vm.allProcesses()).length === 0);
  },
  240_000,
);

/**
 * Python that holds the lock of its own memory. With the argument "busy" it keeps every processor busy; with "asks" it asks
 * for a mode, for which init's helper reads that memory.
 */
const MEMORY_HOLDER = `
import ctypes, mmap, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
block = mmap.mmap(-1, 256 << 20)
block.write(bytes(256 << 20))
address = ctypes.addressof(ctypes.c_char.from_buffer(block))
for _ in range(4 * os.cpu_count() if "busy" in sys.argv else 0):
    if os.fork() == 0:
        while True: pass
def ask():
    while True: libc.chmod(b"/nowhere", 0o2755)
for _ in range(4 if "asks" in sys.argv else 0): threading.Thread(target=ask, daemon=True).start()
def lock():
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        for right in (mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE): libc.mprotect(ctypes.c_void_p(address), 256 << 20, right)
print("on", flush=True)
lock()
`;

test.each(levels)(
  "a program that holds its own memory's lock holds up nobody who answers its calls, or asks about it (%s)",
  async (_level, level) => {
    const vm = await boot({
      ...level,
      ...(level.isolation ? {} : { mounts: [{ path: "/shown", hostPath: shown, readOnly: false }] }),
    });
    let said = "";
    vm.on("processOutput", ({ data }) => (said += Buffer.from(data)));
    const { pid } = await vm.spawn("python3", ["-c", MEMORY_HOLDER, "busy", "asks"]);
    await until(() => said !== "");
    expect(said).toBe("on\n");
    const tables = [vm.allProcesses(), vm.allProcesses()];
    await expectService(vm, [...commands(vm), ...tables, vm.stats()]);
    for (const table of await Promise.all(tables)) {
      expect(table.find((process) => process.pid === pid)).toMatchObject({ command: "python3", status: "running" });
    }
  },
  240_000,
);

test.each(levels)(
  "a command that leaves programs which hold their own memory's locks ends, names them and holds up nobody (%s)",
  async (_level, level) => {
    const vm = await boot(level);
    const { stdout: home } = await vm.exec('printf %s "$HOME"');
    await vm.writeFile(`${home}/holder.py`, MEMORY_HOLDER);
    const { background } = await vm.exec(`
      for how in busy "" ""; do python3 ~/holder.py $how >> ~/said & done
      until [ "$(grep -c on ~/said)" = 3 ]; do sleep 0.1; done; true`);
    expect(background.filter(({ command }) => command === "python3").length).toBeGreaterThanOrEqual(3);
    const daemon = vm.exec("setsid -f sleep 1000");
    await expectService(vm, [...commands(vm), daemon, vm.allProcesses()]);
    expect((await daemon).background).toMatchObject([{ command: "sleep", args: ["1000"] }]);
  },
  240_000,
);

test.each(levels)(
  "what runs does not outlive a server that is killed while its call waits for a lock (%s)",
  async (_level, options) => {
    const server = nodeScript(`
    const vm = await AgentVm.create(${JSON.stringify(options)});
    const { stdout: home } = await vm.exec('printf %s "$HOME"');
    vm.on("processOutput", () => {
      for (let call = 0; call < 12; call++) vm.writeFile(home + "/held", "x").catch(() => {});
      setTimeout(() => console.log("ready"), 300);
    });
    await vm.spawn("python3", ["-c", (${holder})(home + "/held")]);`);
    await server.line();
    const processes = descendants(server.child.pid);
    expect(processes.length).toBeGreaterThan(3);
    server.child.kill("SIGKILL");
    // At its priority even the end of the program is slow on a busy machine.
    await until(() => running(processes).length === 0, 200);
  },
  240_000,
);
