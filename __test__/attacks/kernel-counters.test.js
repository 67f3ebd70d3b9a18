"use strict";
// Resources that the kernel counts for each user, over everything that the user runs: a VM takes everything that it can get,
// and other VMs, the server and its user on the host still find enough.

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const { until } = require("../fixture/promises");
const { victim } = require("../fixture/victim");

const attacker = victim();
const other = victim();

const CALLS = `
import ctypes, errno, json, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)

def paths():
    for root, _, files in os.walk("/usr/lib"):
        for name in files:
            yield os.path.join(root, name).encode()

class Kinds:
    """One of each kind is taken by each call, or the errno's name returned."""
    def __init__(self, tag):
        self.tag, self.made, self.fds, self.watched = tag, 0, [], set()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
    def answer(self, result):
        if result < 0: return errno.errorcode[ctypes.get_errno()]
        self.made += 1
        return result
    def instance(self):
        fd = self.answer(libc.inotify_init1(0))
        if isinstance(fd, int): self.fds.append(fd)
        return fd
    def watch(self):
        while True:
            fd, path = self.watches()
            result = libc.inotify_add_watch(fd, path, 0x100)
            # Two names of one file are one watch.
            if (fd, result) in self.watched: continue
            if result >= 0: self.watched.add((fd, result))
            if result >= 0 or ctypes.get_errno() not in (errno.EACCES, errno.ENOENT): return self.answer(result)
    def watches(self):
        if not hasattr(self, "pairs"): self.pairs = ((fd, path) for path in paths() for fd in self.fds)
        return next(self.pairs)
    def queued(self):
        return self.answer(libc.sigqueue(os.getpid(), signal.SIGRTMIN, None))
    def timer(self):
        return self.answer(libc.timer_create(0, None, ctypes.byref(ctypes.c_void_p())))
    def queue(self):
        name = f"/agent-vm-test-{self.tag}-{os.getpid()}-{self.made}".encode()
        made = self.answer(libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None))
        libc.mq_unlink(name)
        return made
`;

/** Takes all of each kind, prints how many it got and the kernel's error then, and keeps them. */
const TAKE = `${CALLS}
taken = {}
kinds = Kinds("all")
for kind in sys.argv[1:]:
    kinds.made = 0
    while isinstance(answer := getattr(kinds, kind)(), int): pass
    taken[kind] = [kinds.made, answer]
print(json.dumps(taken), flush=True)
sys.stdin.readline()`;

/** Takes a few of each kind. */
const FEW = `${CALLS}
kinds = Kinds("few")
counts = {"instance": 4, "watch": 100, "queued": 100, "timer": 10, "queue": 1}
print(json.dumps({kind: [getattr(kinds, kind)() for _ in range(count)][-1] for kind, count in counts.items()}))`;

const WELL = Object.fromEntries(
  ["instance", "watch", "queued", "timer", "queue"].map((kind) => [kind, expect.any(Number)]),
);

/** How many of each kind are left for the server's user on the host, and for another VM. */
async function left() {
  const watcher = fs.watch(os.tmpdir());
  watcher.close();
  const onHost = spawnSync("python3", ["-c", FEW], { encoding: "utf8" });
  expect(onHost.stderr).toBe("");
  expect(JSON.parse(onHost.stdout)).toEqual(WELL);
  const inside = await other.vm.execFile("python3", ["-c", FEW]);
  expect(inside.stderr).toBe("");
  expect(JSON.parse(inside.stdout)).toEqual(WELL);
}

// A timer uses the same resource as a queued signal.
test.each([
  [["instance", "watch"], { instance: [128, "EMFILE"], watch: [65_536, "ENOSPC"] }],
  [["queued"], { queued: [4096, "EAGAIN"] }],
  [["timer"], { timer: [4096, "EAGAIN"] }],
  [["queue"], { queue: [16, "EMFILE"] }],
])("%j: one VM gets so many, and leaves enough for all others", async (kinds, most) => {
  let printed = "";
  const { pid } = await attacker.vm.spawn("python3", ["-c", TAKE, ...kinds], {
    onStdout: (data) => (printed += data),
    onStderr: (data) => (printed += data),
  });
  await until(() => printed.includes("\n"));
  const taken = JSON.parse(printed);
  for (const [kind, [count, error]] of Object.entries(most)) {
    expect(taken[kind][1]).toBe(error);
    expect(taken[kind][0]).toBeGreaterThan(0);
    expect(taken[kind][0]).toBeLessThanOrEqual(count);
  }
  await left();
  await attacker.vm.killProcess(pid);
});

test("no program raises these bounds", async () => {
  const script = `
import resource
for name in ("RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_MEMLOCK", "RLIMIT_NPROC"):
    soft, hard = resource.getrlimit(getattr(resource, name)) if hasattr(resource, name) else (0, 0)
    if (soft, hard) == (0, 0): continue
    try:
        resource.setrlimit(getattr(resource, name), (hard + 1, hard + 1)); print("raised", name)
    except ValueError: pass
for name in ("max_inotify_instances", "max_inotify_watches", "max_user_namespaces"):
    try:
        open("/proc/sys/user/" + name, "w").write("1000000"); print("wrote", name)
    except OSError: pass
print("done")`;
  expect(await attacker.vm.execFile("python3", ["-c", script])).toMatchObject({ stdout: "done\n", stderr: "" });
});
