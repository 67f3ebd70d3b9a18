"use strict";
const { compile, python } = require("../fixture/guest-programs");
const { until } = require("../fixture/promises");
const { victim } = require("../fixture/victim");

const attacked = victim();
const numbers = (x64, arm64) => (process.arch === "x64" ? x64 : arm64);

test("init is not traced by any request of ptrace", async () => {
  const lines = await python(
    attacked.vm,
    `
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
libc.ptrace.argtypes = [ctypes.c_long] * 4
for options in (0, 1, 0x7f, 0x100000):
    attempt("seize", libc.ptrace, PTRACE_SEIZE, 1, 0, options)
attempt("attach", libc.ptrace, PTRACE_ATTACH, 1, 0, 0)
for request in (1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 24, 0x4200, 0x4204, 0x4207, 0x4208, 0x420d, 0x4210):
    attempt("request", libc.ptrace, request, 1, 0, 0)`,
  );
  for (const line of lines.slice(0, 4)) expect(line).toMatch(/^seize (EPERM|EIO)$/);
  expect(lines[4]).toBe("attach EPERM");
  for (const line of lines) expect(line).not.toContain("worked");
});

test("no byte of init's memory is read or written", async () => {
  const lines = await python(
    attacked.vm,
    `
class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
room = ctypes.create_string_buffer(4096)
mine = iovec(ctypes.addressof(room), 4096)
for address in (0x400000, 0x555555554000, 0x7ffff7fc0000, 0x7ffffffde000):
    theirs = iovec(address, 4096)
    for call in (libc.process_vm_readv, libc.process_vm_writev):
        attempt("vm", call, 1, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)
for name in ("mem", "maps", "smaps", "numa_maps", "pagemap", "auxv", "environ", "stack", "syscall", "personality", "map_files"):
    attempt(name, lambda: os.read(os.open("/proc/1/" + name, os.O_RDONLY), 1))
    attempt(name, lambda: os.read(os.open("/proc/1/task/1/" + name, os.O_RDONLY), 1))
pidfd = os.pidfd_open(1)
attempt("madvise", libc.syscall, 440, pidfd, ctypes.byref(mine), 1, 4, 0)
attempt("mrelease", libc.syscall, 448, pidfd, 0)
attempt("move_pages", libc.syscall, ${numbers(279, 239)}, 1, 0, 0, 0, 0, 0)
attempt("migrate_pages", libc.syscall, ${numbers(256, 238)}, 1, 0, 0, 0)`,
  );
  for (const line of lines) expect(line).toMatch(/ (EPERM|EACCES|EINVAL|ENOENT|EISDIR|ENOSYS)$/);
});

test("no descriptor of init is copied or opened again", async () => {
  const lines = await python(
    attacked.vm,
    `
pidfd = os.pidfd_open(1)
taken = [fd for fd in range(1024) if libc.syscall(438, pidfd, fd, 0) >= 0]
print("taken", taken)
attempt("list", os.listdir, "/proc/1/fd")
opened = []
for fd in range(1024):
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_PATH):
        try: opened.append(os.open(f"/proc/1/fd/{fd}", flags))
        except OSError: pass
print("opened", opened)
for link in ("exe", "cwd", "root", "ns/mnt", "ns/pid", "ns/user", "ns/net"):
    attempt(link, os.open, "/proc/1/" + link, os.O_RDONLY)
attempt("namespaces", libc.setns, pidfd, 0x20000)`,
  );
  expect(lines.slice(0, 3)).toEqual(["taken []", "list EACCES", "opened []"]);
  for (const line of lines.slice(3)) expect(line).toMatch(/ (EACCES|EPERM)$/);
});

test("no limit, priority, scheduler or processor of init's is changed, and its children inherit none", async () => {
  // Without cgroups the limit on file locks, which init sets, is another for each command.
  const look = "grep -v 'file locks' /proc/self/limits; taskset -p $$ | cut -d: -f2; nice";
  const before = (await attacked.vm.exec(look)).stdout;
  const lines = await python(
    attacked.vm,
    `
zero = (ctypes.c_ulong * 2)(0, 0)
for resource in range(16):
    attempt("limit", libc.syscall, ${numbers(302, 261)}, 1, resource, zero, 0)
attempt("affinity", libc.syscall, ${numbers(203, 122)}, 1, 8, ctypes.byref(ctypes.c_ulong(1)))
attempt("idle", libc.syscall, ${numbers(144, 119)}, 1, 5, ctypes.byref(ctypes.c_int(0)))
attempt("parameters", libc.syscall, ${numbers(142, 118)}, 1, ctypes.byref(ctypes.c_int(0)))
attempt("attributes", libc.syscall, ${numbers(314, 274)}, 1, (ctypes.c_uint32 * 14)(56, 5), 0)
for which in (0, 1, 2):
    for who in (1, 0 if which == 2 else 1, 1000):
        if which == 2 or who == 1: attempt("nice", libc.syscall, ${numbers(141, 140)}, which, who, 19)
for which in (1, 2, 3):
    attempt("input and output", libc.syscall, ${numbers(251, 30)}, which, 1, 3 << 13)
attempt("every process of the user's", libc.syscall, ${numbers(251, 30)}, 3, 1000, 3 << 13)`,
  );
  for (const line of lines) expect(line).toMatch(/ EPERM$/);
  expect((await attacked.vm.exec(look)).stdout).toBe(before);
});

test("no file of init's in /proc takes a write", async () => {
  const script = `
for f in $(find /proc/1 -maxdepth 3 -type f 2>/dev/null); do
  for text in 0 1000 -1000 "0 0 1" deny; do
    (printf %s "$text" > "$f") 2>/dev/null && echo "$f took $text"
  done
done; true`;
  expect((await attacked.vm.exec(script)).stdout).toBe("");
});

test("no signal reaches init: of every number, by thread, group or pidfd, or with forged information", async () => {
  const lines = await python(
    attacked.vm,
    `
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
pidfd = os.pidfd_open(1)
information = ctypes.create_string_buffer(128)
for number in range(1, 65):
    libc.kill(1, number)
    libc.syscall(${numbers(234, 131)}, 1, 1, number)                     # tgkill
    libc.syscall(${numbers(200, 130)}, 1, number)                        # tkill
    libc.syscall(424, pidfd, number, 0, 0)                               # pidfd_send_signal
    libc.kill(-1, 0)
    ctypes.memmove(information, (ctypes.c_int * 3)(number, 0, -1), 12)   # SI_QUEUE
    libc.syscall(${numbers(129, 138)}, 1, number, information)           # rt_sigqueueinfo
    libc.syscall(${numbers(297, 240)}, 1, 1, number, information)        # rt_tgsigqueueinfo
print("done")`,
  );
  expect(lines).toEqual(["done"]);
  expect((await attacked.vm.exec("ps -o stat= -p 1")).stdout).toMatch(/^[SR]/);
});

test("the kernel is not made to send init a deadly signal when input arrives", async () => {
  // F_SETOWN names the process that gets a signal for input, F_SETSIG which signal; here the host itself brings the input.
  const script = `
import fcntl, os, signal, sys
signals = []
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGIO, signal.SIGSEGV):
    for owner in (1, -1):
        fd = os.open("/proc/self/fd/0", os.O_RDONLY | os.O_NONBLOCK)
        r, w = os.pipe()
        for end in (fd, r):
            try:
                fcntl.fcntl(end, fcntl.F_SETOWN, owner); fcntl.fcntl(end, 10, number)
                fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
            except OSError: pass
        signals.append((fd, r, w))
        if owner == 1: os.write(w, b"x")
print("armed", flush=True)
signal.pause()`;
  let printed = "";
  const { pid } = await attacked.vm.spawn("python3", ["-c", script], { onStdout: (data) => (printed += data) });
  await until(() => printed.includes("armed"));
  // Among the processes that it kills may be itself, and everything else of the guest.
  await attacked.vm.writeProcessStdin(pid, "input\n").catch(() => {});
  await attacked.vm.killProcess(pid).catch(() => {});
  expect((await attacked.vm.exec("ps -o stat= -p 1")).stdout).toMatch(/^[SR]/);
});

test("children whose parent is init, made by the thousand, do not keep it from its work", async () => {
  const program = await compile(
    attacked.vm,
    `
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(void) {
    // CLONE_PARENT: the new process is not ours, but a child of the process that started us.
    for (int i = 0; i < 3000; i++)
        if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) == 0) _exit(i);
    return 7;
}`,
  );
  const [flood, other] = await Promise.all([attacked.vm.execFile(program), attacked.vm.exec("echo other")]);
  expect(flood.exitCode).toBe(7);
  expect(other.stdout).toBe("other\n");
  await until(async () => (await attacked.vm.allProcesses()).length === 0);
});
