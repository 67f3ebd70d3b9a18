"use strict";
// What a hostile VM can do to the host's processes, and to another VM of the same server.

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const { AgentVm } = require("../..");
const { python } = require("../fixture/guest-programs");
const { until } = require("../fixture/promises");
const { victim } = require("../fixture/victim");

const attacker = victim();
const other = victim();

/**
 * Creates what another process could try to reach: shared memory, semaphores, queues, a port, an abstract socket.
 * Prints their names.
 */
const HOLDER = `
import ctypes, mmap, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
KEY = 0x41564d00 + int(sys.argv[1])
shm = libc.shmget(KEY, 4096, 0o1666)
assert shm >= 0, ctypes.get_errno()
libc.shmat.restype = ctypes.c_void_p
ctypes.memmove(libc.shmat(shm, 0, 0), b"untouched", 9)
sem = libc.semget(KEY, 1, 0o1666); assert sem >= 0
msg = libc.msgget(KEY, 0o1666); assert msg >= 0
posix = os.open("/dev/shm/agent-vm-test-" + sys.argv[1], os.O_CREAT | os.O_RDWR, 0o666); os.write(posix, b"untouched")
tcp = socket.create_server(("127.0.0.1", 0))
abstract = socket.socket(socket.AF_UNIX); abstract.bind("\\0agent-vm-test-" + sys.argv[1]); abstract.listen()
print(os.getpid(), KEY, tcp.getsockname()[1], flush=True)
sys.stdin.readline()
print(os.pread(posix, 9, 0).decode(), ctypes.string_at(libc.shmat(shm, 0, 0), 9).decode(), flush=True)
libc.shmctl(shm, 0, 0); libc.semctl(sem, 0, 0); libc.msgctl(msg, 0, 0); os.unlink("/dev/shm/agent-vm-test-" + sys.argv[1])`;

/** Tries to reach all of these, by their names there. */
const REACH = (pid, key, port, name) => `
import signal
attempt("shared memory", libc.shmget, ${key}, 4096, 0)
attempt("semaphores", libc.semget, ${key}, 1, 0)
attempt("queue", libc.msgget, ${key}, 0)
for number in range(0, 65536):
    if libc.shmctl(number, 0, 0) == 0 or libc.semctl(number, 0, 0) == 0 or libc.msgctl(number, 0, 0) == 0: print("removed", number)
print(sum(len(open("/proc/sysvipc/" + n).read().splitlines()) - 1 for n in ("shm", "sem", "msg")))
attempt("memory file", os.open, "/dev/shm/agent-vm-test-${name}", os.O_RDWR)
s = socket.socket(); s.settimeout(5)
attempt("port", s.connect, ("127.0.0.1", ${port}))
s = socket.socket(socket.AF_UNIX); s.settimeout(5)
attempt("abstract socket", s.connect, "\\0agent-vm-test-${name}")
for number in range(2, 65536):
    if number == os.getpid(): continue
    try: os.kill(number, signal.SIGKILL); print("killed", number)
    except ProcessLookupError: pass
attempt("trace", libc.ptrace, 16, ${pid}, 0, 0)
attempt("memory", os.open, "/proc/${pid}/mem", os.O_RDWR)`;

const UNREACHED = [
  "shared memory ENOENT",
  "semaphores ENOENT",
  "queue ENOENT",
  "0",
  "memory file ENOENT",
  "port ECONNREFUSED",
  "abstract socket ECONNREFUSED",
  expect.stringMatching(/^trace (ESRCH|EPERM)$/),
  expect.stringMatching(/^memory (ENOENT|EACCES)$/),
];

test("no shared memory, semaphore, queue, port, socket or process of the host is reached", async () => {
  const name = String(process.pid % 100000);
  const holder = spawn("python3", ["-c", HOLDER, name], { stdio: ["pipe", "pipe", "inherit"] });
  try {
    let printed = "";
    holder.stdout.on("data", (data) => (printed += data));
    await until(() => printed.includes("\n"));
    const [pid, key, port] = printed.trim().split(" ");
    expect(await python(attacker.vm, REACH(pid, key, port, name))).toEqual(UNREACHED);
    holder.stdin.write("\n");
    await until(() => printed.includes("untouched untouched"));
  } finally {
    holder.kill();
  }
});

test("no shared memory, semaphore, queue, port, socket or process of another VM is reached", async () => {
  let printed = "";
  const { pid } = await other.vm.spawn("python3", ["-c", HOLDER, "1"], { onStdout: (data) => (printed += data) });
  await until(() => printed.includes("\n"));
  const [, key, port] = printed.trim().split(" ");
  // In the attacker's VM, the same pid is at most the attacker itself.
  expect(await python(attacker.vm, REACH(30000 + pid, key, port, "1"))).toEqual(UNREACHED);
  await other.vm.writeProcessStdin(pid, "\n");
  await until(() => printed.includes("untouched untouched"));
});

test("no file of the host or of another VM is found under the usual names", async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-test-"));
  try {
    fs.writeFileSync(path.join(directory, "secret"), "of the host");
    await other.vm.writeFile("/tmp/secret", "of the other");
    await other.vm.writeFile("/home/user/secret", "of the other");
    const places = [path.join(directory, "secret"), "/tmp/secret", "/home/user/secret", `/proc/${process.pid}/environ`];
    places.push(
      "/etc/shadow",
      ...(attacker.vm.enforcement.ids === null ? ["/root"] : []),
      "/var/log",
      "/boot",
      "/srv",
      `/proc/1/root${directory}`,
      `/proc/self/root/..${directory}`,
    );
    for (const place of places) expect(await attacker.vm.exists(place)).toBe(false);
    // Tries to get up and out of the root, by a call and by a link.
    await attacker.vm.exec(
      `ln -s ../../../../../../..${directory}/secret out; ln -s /proc/self/root/../..${directory}/secret out2`,
    );
    for (const link of ["out", "out2"]) {
      await expect(attacker.vm.readFile(`/home/user/${link}`)).rejects.toMatchObject({
        code: expect.stringMatching(/^E/),
      });
    }
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test("a Unix socket of the host is reached only in a directory that is shown to the VM", async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-test-"));
  const server = net.createServer((socket) => socket.end("of the host"));
  try {
    await new Promise((resolve) => server.listen(path.join(directory, "socket"), resolve));
    const lines = await python(
      attacker.vm,
      `
s = socket.socket(socket.AF_UNIX)
attempt("socket", s.connect, ${JSON.stringify(path.join(directory, "socket"))})`,
    );
    expect(lines).toEqual(["socket ENOENT"]);
  } finally {
    server.close();
    fs.rmSync(directory, { recursive: true });
  }
});

test("no process inside shows an environment variable, argument or name of the host", async () => {
  process.env.AGENT_VM_TEST_SECRET = "of-the-host";
  const vm = await AgentVm.create();
  try {
    const { stdout } = await vm.exec(
      "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/comm /proc/sys/kernel/hostname /etc/hostname 2>/dev/null; hostname; uname -n",
    );
    expect(stdout).not.toContain("of-the-host");
    expect(stdout.split(/[\0\n]/)).not.toContain(os.hostname());
  } finally {
    delete process.env.AGENT_VM_TEST_SECRET;
    await vm.dispose();
  }
});
