"use strict";
// While a program in one VM does its worst, two things may take at most ten times as long as at rest: a command in
// another VM, and a write of the host to a directory that the first VM shows. Each attack is a row of the table.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const { AgentVm } = require("../..");
const { until } = require("../fixture/promises");
const { boot } = require("../fixture/vm");

const SAMPLES = 30;
const FACTOR = 10;
const ROUNDS = 3;
/**
 * Milliseconds that are always allowed. An attack may keep every processor busy, which its VM may do unless
 * `limits.cpus` is lower. A thread that wakes up then waits a few milliseconds for the running thread's turn to end
 * (`sched(7)`), however short its own work is.
 */
const FLOOR = 10;

/** A Python program with what most attacks need. `on()` reports that the attack is running. */
const python = (script) => [
  "python3",
  "-c",
  `import array, ctypes, errno, fcntl, mmap, os, resource, select, shutil, signal, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
def on(): print("on", flush=True)
def forever(attack):
    while True:
        try: attack()
        except OSError: time.sleep(0.001)
${script}`,
];
const sh = (script) => ["sh", "-c", script];

/**
 * `program` runs in the VM and prints `on` when the attack is running. `limits` are its VM's limits. The server repeats
 * `calls` on that VM meanwhile.
 */
const attacks = [
  {
    name: "a fork bomb",
    // A quarter of the default, because other programs need the machine too.
    limits: { pids: 1024 },
    // A shell exits when it cannot fork, so something else must start the next one.
    program: python(`
on()
forever(lambda: os.posix_spawn("/bin/sh", ["sh", "-c", "bomb() { bomb | bomb & }; while :; do bomb; done 2>/dev/null"], {}))`),
  },
  {
    name: "memory that is filled and given back",
    program: python(`
on()
def fill():
    block = mmap.mmap(-1, 512 << 20)
    for page in range(0, len(block), 4096): block[page] = 1
    block.close()
forever(fill)`),
  },
  {
    name: "private files to the bound, again and again",
    program: sh(
      "echo on; while true; do cat /dev/zero >${TMPDIR:-/tmp}/full 2>/dev/null; rm ${TMPDIR:-/tmp}/full; done",
    ),
  },
  {
    name: "leases on programs and on a file that the host writes",
    program: python(`
program = os.environ["HOME"] + "/program"
shutil.copy("/usr/bin/true", program)
files = [os.open(path, os.O_RDONLY) for path in (program, "/usr/bin/true", "/shown/written")]
def lease():
    for fd in files:
        try: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError: pass
signal.signal(signal.SIGIO, signal.SIG_IGN)
lease()
on()
forever(lambda: (lease(), time.sleep(0.0001)))`),
  },
  {
    name: "asynchronous I/O contexts",
    program: python(`
SETUP = {"x86_64": 206, "aarch64": 0}[os.uname().machine]
def setup(): return libc.syscall(SETUP, 65536, ctypes.byref(ctypes.c_ulong(0)))
for _ in range(64): setup()
on()
forever(lambda: (setup(), time.sleep(0.001)))`),
  },
  {
    name: "terminals",
    program: python(`
held = []
def terminal(): held.extend(os.openpty())
try:
    while len(held) < 3000: terminal()
except OSError: pass
on()
forever(lambda: (terminal(), time.sleep(0.001)))`),
  },
  {
    name: "descriptors in flight",
    program: python(`
held = []
def send():
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    held.append(pair)
    pair[0].setblocking(False)
    for _ in range(10): socket.send_fds(pair[0], [b"x"], [0] * 250)
try:
    while len(held) < 400: send()
except OSError: pass
on()
forever(send)`),
  },
  {
    name: "the output of other programs, held open",
    program: python(`
held = set()
def hold():
    for pid in os.listdir("/proc"):
        for fd in "1", "2":
            try:
                name = os.readlink(f"/proc/{pid}/fd/{fd}")
                if name not in held:
                    os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
                    held.add(name)
            except OSError: pass
on()
forever(hold)`),
    calls: async (vm) => {
      await vm.exec("sleep 0.01");
      const { pid } = await vm.spawn("sleep", ["0.01"]);
      await vm.waitProcess(pid);
    },
  },
  {
    name: "sockets",
    program: python(`
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(4096)
held = []
def connect():
    if len(held) > 1500: held.clear()
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(listener.getsockname())
    held.append(client)
    server, _ = listener.accept()
    server.setblocking(False)
    held.append(server)
    try:
        while True: server.send(b"x" * 65536)
    except BlockingIOError: pass
on()
forever(connect)`),
  },
  {
    name: "deep directories, which the server lists",
    program: python(`
os.chdir(os.environ["HOME"])
for tree in range(4):
    os.mkdir(f"tree-{tree}")
    fd = os.open(f"tree-{tree}", os.O_RDONLY)
    for depth in range(300):
        os.mkdir("\\x01" * 200, dir_fd=fd)
        below = os.open("\\x01" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
on()
time.sleep(1000)`),
    calls: (vm, home) => vm.readdirRecursive(home),
  },
  {
    name: "output without end",
    program: sh("echo on; yes & yes >&2 & exec yes"),
    calls: (vm) => vm.exec("head -c 50000000 /dev/zero", { maxOutputBytes: 1000 }),
  },
  {
    name: "timers and signals",
    program: python(`
class Spec(ctypes.Structure): _fields_ = [("every_s", ctypes.c_long), ("every_ns", ctypes.c_long), ("s", ctypes.c_long), ("ns", ctypes.c_long)]
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
spec = Spec(0, 1, 0, 1)
for _ in range(2000):
    timer = ctypes.c_void_p()
    if libc.timer_create(1, None, ctypes.byref(timer)) != 0: break
    libc.timer_settime(timer, 0, ctypes.byref(spec), None)
on()
def queue(): libc.sigqueue(os.getpid(), 40, None)
forever(queue)`),
  },
  {
    name: "watches of files and directories",
    program: python(`
held = []
def watch():
    fd = libc.inotify_init1(0)
    if fd < 0: raise OSError(ctypes.get_errno(), "inotify_init1")
    held.append(fd)
    for path in (b"/usr", b"/usr/bin", b"/tmp", b"/shown"): libc.inotify_add_watch(fd, path, 0xfff)
try:
    while len(held) < 2000: watch()
except OSError: pass
on()
forever(watch)`),
  },
];

/** The median time of `samples` calls of `one`, in milliseconds. */
const median = (taken) => taken.toSorted((a, b) => a - b)[taken.length >> 1];

async function milliseconds(one) {
  const begun = performance.now();
  await one();
  return performance.now() - begun;
}

let quiet;
let shown;

/** The medians of a command in the other VM and of a write of the host, measured in turns. */
async function measure() {
  const file = path.join(shown, "written");
  const [commands, writes] = [[], []];
  for (let sample = 0; sample < SAMPLES; sample++) {
    commands.push(await milliseconds(() => quiet.exec("true")));
    writes.push(await milliseconds(() => fs.promises.writeFile(file, `sample ${sample}`)));
  }
  return { command: median(commands), write: median(writes) };
}

beforeAll(async () => {
  quiet = await AgentVm.create();
  shown = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-test-"));
  fs.writeFileSync(path.join(shown, "written"), "");
  await measure();
});
afterAll(async () => {
  await quiet.dispose();
  fs.rmSync(shown, { recursive: true });
});

test.each(attacks)(
  "during the attack with $name, another VM and the host stay responsive",
  async ({ program, calls, limits }) => {
    const rest = await measure();
    const most = { command: rest.command * FACTOR + FLOOR, write: rest.write * FACTOR + FLOOR };
    const vm = await boot({ limits, mounts: [{ path: "/shown", hostPath: shown }] });
    const { stdout: home } = await vm.exec('printf %s "$HOME"');
    const said = { stdout: "", stderr: "" };
    vm.on("processOutput", ({ stream, data }) => {
      if (said[stream].length < 100) said[stream] += Buffer.from(data.subarray(0, 100));
    });
    const [command, ...args] = program;
    const { pid } = await vm.spawn(command, args);
    // stderr output of an attack may arrive before its stdout.
    await until(
      async () =>
        said.stdout.startsWith("on") ||
        ((await vm.getProcess(pid)).running ? false : Promise.reject(new Error(said.stdout + said.stderr))),
    );
    let over = false;
    const calling = (async () => {
      // It does not matter if these calls fail because of the attack.
      while (calls && !over) await calls(vm, home).catch(() => {});
    })();
    const isWithin = (during) => during.command <= most.command && during.write <= most.write;
    let during;
    try {
      // Other load on the machine is temporary; the effect of an attack is not.
      for (let round = 0; round < ROUNDS && !(during && isWithin(during)); round++) during = await measure();
      // If the attack had ended, the test would have shown nothing.
      expect(await vm.getProcess(pid)).toMatchObject({ running: true });
    } finally {
      over = true;
      // Calls to a VM that is overloaded need not be waited for.
      await Promise.allSettled([vm.dispose(), calling]);
    }
    expect({ during, rest, isWithin: isWithin(during) }).toEqual({ during, rest, isWithin: true });
  },
  120_000,
);
