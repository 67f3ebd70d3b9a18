"use strict";
// Root of a VM with a range of ids tries what its capabilities might open: mounts, namespaces, devices, the kernel's settings,
// init, and other VMs.

const { descendants } = require("../fixture/processes");
const fs = require("node:fs");
const { attempt, python } = require("../fixture/attempts");
const { hasRange } = require("../fixture/subordinate");
const { boot, bootForFile, output } = require("../fixture/vm");

const refused = (names) =>
  Object.fromEntries(names.map((name) => [name, expect.stringMatching(/^E(PERM|NOSYS|ACCES)$/)]));

if (!hasRange()) {
  test("there is no such root", async () => {
    expect((await boot({ user: "root" })).enforcement.ids).toBe("single");
  });
} else {
  let vm;

  beforeAll(async () => {
    vm = await bootForFile({ ids: "range", user: "root" });
  });

  // Fails if the VM no longer answers.
  afterEach(() => output(vm, "true"));

  test("root is that of a range", () => {
    expect(vm.enforcement.ids).toBe("range");
  });

  test("no mount, namespace, root, device or key is made, and no module, clock or file system is touched", async () => {
    const x86 = process.arch === "x64";
    const calls = {
      mount: x86 ? 165 : 40,
      umount2: x86 ? 166 : 39,
      pivot_root: x86 ? 155 : 41,
      chroot: x86 ? 161 : 51,
      unshare: x86 ? 272 : 97,
      setns: x86 ? 308 : 268,
      init_module: x86 ? 175 : 105,
      finit_module: x86 ? 313 : 273,
      kexec_load: x86 ? 246 : 104,
      reboot: x86 ? 169 : 142,
      settimeofday: x86 ? 164 : 170,
      sethostname: x86 ? 170 : 161,
      bpf: x86 ? 321 : 280,
      perf_event_open: x86 ? 298 : 241,
      userfaultfd: x86 ? 323 : 282,
      keyctl: x86 ? 250 : 219,
      add_key: x86 ? 248 : 217,
      open_by_handle_at: x86 ? 304 : 265,
      name_to_handle_at: x86 ? 303 : 264,
      quotactl: x86 ? 179 : 60,
      acct: x86 ? 163 : 89,
      swapon: x86 ? 167 : 224,
      fanotify_init: x86 ? 300 : 262,
      pidfd_getfd: 438,
      open_tree: 428,
      move_mount: 429,
      fsopen: 430,
      fsmount: 432,
      mount_setattr: 442,
      clone3: 435,
      openat2: 437,
      io_uring_setup: 425,
    };
    const found = await python(
      vm,
      `libc = ctypes.CDLL(None, use_errno=True)
def call(number):
    for arguments in ((0, 0, 0, 0, 0), (b"/tmp", b"/tmp", b"tmpfs", 0, 0), (0x10000000, 0, 0, 0, 0), (0x20000, 0, 0, 0, 0)):
        ctypes.set_errno(0)
        if libc.syscall(number, *arguments) != -1: return "worked"
    return errno.errorcode[ctypes.get_errno()]
print(json.dumps({name: call(number) for name, number in json.loads('${JSON.stringify(calls)}').items()}))`,
    );
    expect(found).toEqual(refused(Object.keys(calls)));
  });

  test("no device is made or opened, and no packet or raw socket", async () => {
    const found = await python(
      vm,
      `import socket, stat
${attempt}
print(json.dumps({
    "a character device": attempt(os.mknod, "/tmp/mem", 0o600 | stat.S_IFCHR, os.makedev(1, 1)),
    "a block device": attempt(os.mknod, "/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0)),
    "a whiteout": attempt(os.mknod, "/tmp/out", 0o600 | stat.S_IFCHR, 0),
    "a raw socket": attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
}))
`,
    );
    expect(found).toEqual(refused(["a character device", "a block device", "a whiteout", "a raw socket"]));
    expect((await vm.exec("python3 -c 'import socket; socket.socket(socket.AF_PACKET)'")).stderr).toMatch(
      /not supported/,
    );
  });

  test("the kernel's settings stay as they are, also those of the VM's own namespaces", async () => {
    const files = [
      "/proc/sysrq-trigger",
      "/proc/sys/kernel/core_pattern",
      "/proc/sys/kernel/modprobe",
      "/proc/sys/kernel/hostname",
      "/proc/sys/vm/overcommit_memory",
      "/proc/sys/fs/suid_dumpable",
      "/proc/sys/user/max_user_namespaces",
      "/proc/sys/user/max_inotify_watches",
      "/proc/sys/kernel/ns_last_pid",
      "/proc/sys/kernel/pid_max",
      "/proc/sys/kernel/msgmnb",
      "/proc/sys/kernel/sem",
      "/proc/sys/kernel/shmmax",
      "/proc/sys/fs/mqueue/queues_max",
      "/proc/sys/net/ipv4/ping_group_range",
      "/proc/1/oom_score_adj",
      "/proc/1/uid_map",
      "/proc/1/setgroups",
    ];
    const { stdout } = await vm.exec(
      `for file in ${files.join(" ")}; do [ ! -e $file ] || (echo 1 > $file) 2>/dev/null && [ -e $file ] && echo $file; done; true`,
    );
    expect(stdout).toBe("");
  });

  test("init cannot be read, traced, signalled, limited or entered", async () => {
    const found = await python(
      vm,
      `import resource, signal
libc = ctypes.CDLL(None, use_errno=True)
${attempt}
def call(*arguments):
    ctypes.set_errno(0)
    return "worked" if libc.syscall(*arguments) != -1 else errno.errorcode[ctypes.get_errno()]
PTRACE = ${process.arch === "x64" ? 101 : 117}
print(json.dumps({
    "memory": attempt(open, "/proc/1/mem", "rb"),
    "environment": attempt(lambda: open("/proc/1/environ").read()),
    "descriptors": attempt(os.listdir, "/proc/1/fd"),
    "working directory": attempt(os.readlink, "/proc/1/cwd"),
    "namespace": attempt(os.readlink, "/proc/1/ns/user"),
    "tracing": call(PTRACE, 16, 1, 0, 0),
    "limit": attempt(resource.prlimit, 1, resource.RLIMIT_CPU, (1, 1)),
    "kill": attempt(os.kill, 1, signal.SIGKILL),
}))`,
    );
    expect(found).toEqual(refused(Object.keys(found)));
    expect(Object.keys(found)).toHaveLength(8);
  });

  test("root cannot take a capability beside its eleven", async () => {
    const found = await python(
      vm,
      `libc = ctypes.CDLL(None, use_errno=True)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
taken = []
for number in set(range(41)) - {0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 29}:
    for inheritable in (0, 1):
        sets = (ctypes.c_uint32 * 6)(0x200405fb, 0x200405fb, 0, 0, 0, 0)
        sets[number // 32 * 3 + (2 if inheritable else 1)] |= 1 << number % 32
        if libc.capset(header, sets) == 0: taken.append(number)
    if libc.prctl(47, 2, number, 0, 0) == 0: taken.append(number)
effective = open("/proc/self/status").read().split("CapEff:\\t")[1].split()[0]
print(json.dumps({"taken": taken, "effective": effective}))`,
    );
    expect(found).toEqual({ taken: [], effective: "00000000200405fb" });
  });

  test("many users of one VM get together no more than one user does of what the kernel counts by user", async () => {
    const one = await boot({ ids: "range", user: "root", limits: { pids: 40 } });
    const found = await python(
      one,
      `import signal
libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
def instances(): return libc.inotify_init1(0) >= 0
def signals(): return libc.sigqueue(os.getpid(), signal.SIGRTMIN, None) == 0
def queues():
    name = f"/agent-vm-test-{os.getpid()}-{os.urandom(8).hex()}".encode()
    made = libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None)
    if made >= 0: libc.mq_unlink(name)
    return made >= 0
def processes():
    try: return os.fork() > 0 or signal.pause()
    except OSError: return False
def taken(take):
    total, users = 0, []
    for uid in range(2000, 2008):
        r, w = os.pipe()
        try: pid = os.fork()
        except OSError: break
        if pid == 0:
            os.setpgid(0, 0); os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
            count = 0
            while count < 20_000 and take(): count += 1
            os.write(w, count.to_bytes(4, "little"))
            signal.pause()
        users.append(pid)
        total += int.from_bytes(os.read(r, 4), "little")
        os.close(r); os.close(w)
    for pid in users:
        os.killpg(pid, signal.SIGKILL); os.waitpid(pid, 0)
    return total
print(json.dumps({take.__name__: taken(take) for take in (instances, signals, queues, processes)}))`,
    );
    const most = { instances: 128, signals: 4096, queues: 16, processes: 40 };
    for (const [kind, count] of Object.entries(most)) {
      expect(found[kind]).toBeGreaterThan(0);
      expect(found[kind]).toBeLessThanOrEqual(count);
    }
  });

  test("the host's programs and what init shows stay read-only", async () => {
    const { stdout } = await vm.exec(
      "for path in /usr /bin /lib /sys /sys/fs/cgroup /dev; do (touch $path/x || chmod 777 $path || chown 5 $path) 2>/dev/null && echo $path; done; mount -o remount,rw /usr 2>/dev/null && echo remounted; true",
    );
    expect(stdout).toBe("");
  });

  if (process.getuid() === 0) {
    test("no two VMs share an id, and none has an id of the host's users", async () => {
      const started = new Set(descendants(process.pid).map(({ pid }) => pid));
      const vms = await Promise.all([1, 2, 3].map(() => boot({ ids: "range", user: "root" })));
      await Promise.all(vms.map((one) => one.spawn("sleep", ["4321"])));
      const sleeping = descendants(process.pid).filter(
        ({ pid }) => !started.has(pid) && fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("sleep\u00004321"),
      );
      const owners = sleeping.map(({ pid }) => /^Uid:\t(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
      expect(new Set(owners).size).toBe(3);
      for (const owner of owners) expect(Number(owner) % 65_536).toBe(0);
      for (const owner of owners) expect(Number(owner)).toBeGreaterThan(1_000_000);
    });
  }
}
