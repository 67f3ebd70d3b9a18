"use strict";
// Every system call that the filter refuses, made directly: by the native entry and, on x86-64, also by those of i386
// and x32.

const { compile, python } = require("../fixture/guest-programs");
const { victim } = require("../fixture/victim");

const attacked = victim();

// System call numbers: x86-64, arm64, i386. A single number is the same on all of them (since 424).
const NOT_PERMITTED = {
  mount: [165, 40, 21],
  umount2: [166, 39, 52],
  pivot_root: [155, 41, 217],
  chroot: [161, 51, 61],
  open_tree: [428],
  move_mount: [429],
  fsopen: [430],
  fsconfig: [431],
  fsmount: [432],
  fspick: [433],
  mount_setattr: [442],
  open_tree_attr: [467],
  unshare: [272, 97, 310],
  setns: [308, 268, 346],
  add_key: [248, 217, 286],
  request_key: [249, 218, 287],
  keyctl: [250, 219, 288],
  bpf: [321, 280, 357],
  perf_event_open: [298, 241, 336],
  userfaultfd: [323, 282, 374],
  init_module: [175, 105, 128],
  finit_module: [313, 273, 350],
  delete_module: [176, 106, 129],
  kexec_load: [246, 104, 283],
  kexec_file_load: [320, 294],
  open_by_handle_at: [304, 265, 342],
  name_to_handle_at: [303, 264, 341],
  fanotify_init: [300, 262, 338],
  fanotify_mark: [301, 263, 339],
  lookup_dcookie: [212, 18, 253],
  quotactl: [179, 60, 131],
  quotactl_fd: [443],
  swapon: [167, 224, 87],
  swapoff: [168, 225, 115],
  reboot: [169, 142, 88],
  acct: [163, 89, 51],
  settimeofday: [164, 170, 79],
  clock_settime: [227, 112, 264],
  adjtimex: [159, 171, 124],
  clock_adjtime: [305, 266, 343],
  sethostname: [170, 161, 74],
  setdomainname: [171, 162, 121],
  syslog: [103, 116, 103],
  vhangup: [153, 58, 111],
  kcmp: [312, 272, 349],
};
const NOT_THERE = {
  clone3: [435],
  openat2: [437],
  io_uring_setup: [425],
  io_uring_enter: [426],
  io_uring_register: [427],
  io_setup: [206, 0, 245],
  io_destroy: [207, 1, 246],
  io_getevents: [208, 4, 247],
  io_submit: [209, 2, 248],
  io_cancel: [210, 3, 249],
  io_pgetevents: [333, 292, 385],
  syncfs: [306, 267, 344],
  mbind: [237, 235, 274],
  get_mempolicy: [239, 236, 275],
  set_mempolicy: [238, 237, 276],
  migrate_pages: [256, 238, 294],
  move_pages: [279, 239, 317],
  set_mempolicy_home_node: [450],
  statmount: [457],
  listmount: [458],
  lsm_get_self_attr: [459],
  lsm_set_self_attr: [460],
  lsm_list_modules: [461],
  file_getattr: [468],
  file_setattr: [469],
};
const [NATIVE, I386] = [process.arch === "x64" ? 0 : 1, 2];
const of = (numbers, machine) => numbers[machine] ?? numbers[0];

/**
 * Makes each call with zeros as arguments. `instruction` is C code that sets `result` from `number`; `trapped` handles
 * SIGSYS.
 */
function caller(instruction) {
  return `
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
static volatile int was_trapped;
static void trapped(int signal) { was_trapped = 1; }
int main(void) {
    long number;
    char name[64];
    while (scanf("%63s %ld", name, &number) == 2) {
        was_trapped = 0;
        long result = 0;
        ${instruction}
        printf("%s %ld\\n", name, result);
    }
    return 0;
}`;
}

const native = "result = syscall(number, 0, 0, 0, 0, 0, 0) == -1 ? errno : 0;";

async function answers(instruction, calls, machine, flag = 0) {
  const program = await compile(attacked.vm, caller(instruction));
  const entries = Object.entries(calls);
  const stdin = entries.map(([name, numbers]) => `${name} ${of(numbers, machine) | flag}\n`).join("");
  const { stdout } = await attacked.vm.execFile(program, [], { stdin });
  return Object.fromEntries(
    stdout
      .trim()
      .split("\n")
      .map((line) => line.split(" "))
      .map(([name, errno]) => [name, Number(errno)]),
  );
}

const all = (calls, errno) => Object.fromEntries(Object.keys(calls).map((name) => [name, errno]));
const [EPERM, ENOSYS] = [1, 38];
/** The value that stands for SIGSYS among the results. */
const TRAPPED = 1000;

test("no call that an escape is made of is carried out", async () => {
  expect(await answers(native, NOT_PERMITTED, NATIVE)).toEqual(all(NOT_PERMITTED, EPERM));
});

test("no call whose arguments a filter cannot see, or that makes calls past it, is there", async () => {
  expect(await answers(native, NOT_THERE, NATIVE)).toEqual(all(NOT_THERE, ENOSYS));
});

test("a call that a later kernel adds is refused until it is in the policy", async () => {
  const numbers = Object.fromEntries([470, 480, 500, 511, 1000, 5000].map((number) => [`number-${number}`, [number]]));
  expect(await answers(native, numbers, NATIVE)).toEqual(all(numbers, ENOSYS));
});

if (process.arch === "x64") {
  test("not one call gets past the filter by the entry of i386", async () => {
    const int80 = `
        signal(SIGSYS, trapped);
        __asm__ volatile("push %%rbx; xor %%ebx, %%ebx; int $0x80; pop %%rbx"
            : "=a"(result) : "a"(number), "c"(0L), "d"(0L), "S"(0L), "D"(0L) : "r8", "r9", "r10", "r11", "memory");
        result = was_trapped ? ${TRAPPED} : -(int)result;`;
    const calls = {
      ...NOT_PERMITTED,
      ...NOT_THERE,
      getpid: [39, 172, 20],
      open: [2, -1, 5],
      socketcall: [-1, -1, 102],
    };
    // The filter answers the two calls of init before it checks the entry.
    const byNumber = all({ clone3: 0, openat2: 0 }, ENOSYS);
    expect(await answers(int80, calls, I386)).toEqual({ ...all(calls, TRAPPED), ...byNumber });
  });

  test("not one call gets past the filter by the numbers of x32", async () => {
    const calls = { ...NOT_PERMITTED, ...NOT_THERE, getpid: [39], ioctl: [514], execve: [520], ptrace: [521] };
    const trap = `signal(SIGSYS, trapped); ${native} result = was_trapped ? ${TRAPPED} : result;`;
    expect(await answers(trap, calls, NATIVE, 0x40000000)).toEqual(all(calls, TRAPPED));
  });

  test("a tracer that changes a call's number after it was let in does not get past the filter", async () => {
    const program = await compile(
      attacked.vm,
      `
#include <errno.h>
#include <stdio.h>
#include <signal.h>
#include <unistd.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
int main(void) {
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        // The tracer changes this into an unshare(CLONE_NEWUSER).
        long result = syscall(SYS_getppid, 0x10000000);
        _exit(result == -1 ? errno : result == 0 ? 100 : 101);
    }
    int status;
    struct user_regs_struct registers;
    waitpid(child, &status, 0);
    for (;;) {
        ptrace(PTRACE_SYSCALL, child, 0, 0);
        waitpid(child, &status, 0);
        if (WIFEXITED(status)) break;
        ptrace(PTRACE_GETREGS, child, 0, &registers);
        if (registers.orig_rax == SYS_getppid) {
            registers.orig_rax = SYS_unshare;
            ptrace(PTRACE_SETREGS, child, 0, &registers);
        }
    }
    printf("%d\\n", WEXITSTATUS(status));
    return 0;
}`,
    );
    expect((await attacked.vm.execFile(program)).stdout).toBe(`${EPERM}\n`);
  });
}

test("a guest's own filter that allows everything, or asks a supervisor, lets nothing through", async () => {
  const lines = await python(
    attacked.vm,
    `
class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(Instruction))]
ALLOW, USER_NOTIF, TRACE = 0x7fff0000, 0x7fc00000, 0x7ff00000
SECCOMP = ${process.arch === "x64" ? 317 : 277}
UNSHARE = ${of(NOT_PERMITTED.unshare, NATIVE)}
# Needed by a root whose set-user-id programs work.
assert libc.prctl(38, 1, 0, 0, 0) == 0
def filtered(answer):
    # For unshare, its result; all other calls continue.
    code = (Instruction * 4)(Instruction(0x20, 0, 0, 0), Instruction(0x15, 0, 1, UNSHARE),
                             Instruction(0x06, 0, 0, answer), Instruction(0x06, 0, 0, ALLOW))
    return Program(4, code)
for name, answer in (("allow", ALLOW), ("trace", TRACE)):
    if os.fork() == 0:
        assert libc.syscall(SECCOMP, 1, 0, ctypes.byref(filtered(answer))) == 0
        attempt(name, libc.syscall, UNSHARE, 0x10000000)
        sys.stdout.flush(); os._exit(0)
    os.wait()
assert libc.syscall(SECCOMP, 1, 8, ctypes.byref(filtered(USER_NOTIF))) >= 0
attempt("supervisor", libc.syscall, UNSHARE, 0x10000000)`,
  );
  expect(lines).toEqual(["allow EPERM", "trace EPERM", "supervisor EPERM"]);
});

test("no prctl gives back a right, or takes the filter or no_new_privs off", async () => {
  const lines = await python(
    attacked.vm,
    `
for name, arguments in {
    "no_new_privs off": (38, 0, 0, 0, 0),
    "seccomp off": (22, 0, 0, 0, 0),
    "securebits": (28, 0, 0, 0, 0),
    "ambient": (47, 2, 21, 0, 0),
    "bounding set": (24, 21, 0, 0, 0),
    "executable": (35, 13, 0, 0, 0),
}.items():
    attempt(name, libc.prctl, *arguments)
# Allowed, since ping needs it: there is no capability to keep.
assert libc.prctl(8, 1, 0, 0, 0) == 0
attempt("capset", libc.capset, (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(1 << 21, 1 << 21, 0, 0, 0, 0))
for call, value in (("setuid", 0), ("setgid", 0), ("seteuid", 0)):
    attempt(call, getattr(os, call), value)
attempt("setgroups", os.setgroups, [0])
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp:"))))`,
  );
  const { ids } = attacked.vm.enforcement;
  const ofRoot = {
    // Without effect.
    single: /^(capset|setuid|setgid|seteuid|setgroups) worked$/,
    range: /^(securebits|bounding set|setuid|setgid|seteuid|setgroups) worked$/,
  }[ids];
  for (const line of lines.slice(0, -1).filter((line) => !ofRoot?.test(line)))
    expect(line).toMatch(/ (EPERM|EINVAL|EACCES)$/);
  const rights = (ids === "range" ? "00000000200405fb " : "0000000000000000 ").repeat(3);
  expect(lines.at(-1)).toBe(`${rights}${ids === "range" ? 0 : 1} 2`);
});

test("no socket but Unix, IPv4, IPv6 and routing netlink is made: no vsock, packet, raw, crypto or Bluetooth one", async () => {
  const lines = await python(
    attacked.vm,
    `
made = set()
for family in range(64):
    for kind in (1, 2, 3, 4, 5, 6, 10):
        for protocol in (0, 1, 3, 6, 9, 15, 17, 132, 255, 256, 262, 0x0300):
            fd = libc.socket(family, kind, protocol)
            if fd >= 0:
                os.close(fd)
                made.add((family, kind, protocol))
print(sorted({family for family, kind, protocol in made}))
print(sorted({kind for family, kind, protocol in made if family in (2, 10)}))
print(sorted({protocol for family, kind, protocol in made if family == 16}))
for family, kind in ((16, 3), (17, 3), (40, 1), (38, 5), (31, 3)):
    attempt(f"pair of {family}", libc.socketpair, family, kind, 0, (ctypes.c_int * 2)())`,
  );
  expect(lines.slice(0, 3)).toEqual(["[1, 2, 10, 16]", "[1, 2]", "[0]"]);
  for (const line of lines.slice(3)) expect(line).not.toContain("worked");
});

test("the network cannot be changed over netlink or ioctl", async () => {
  const lines = await python(
    attacked.vm,
    `
import struct, fcntl
def netlink(kind, body):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.sendto(struct.pack("=IHHII", 16 + len(body), kind, 5, 1, 0) + body, (0, 0))
    error = struct.unpack("=i", s.recv(4096)[16:20])[0]
    if error: raise OSError(-error, "")
# RTM_NEWLINK takes the loopback down, RTM_NEWADDR gives it an address, RTM_NEWROUTE and RTM_NEWNEIGH rule where packets go.
attempt("link", netlink, 16, struct.pack("=BBHiII", 0, 0, 0, 1, 0, 1))
attempt("address", netlink, 20, struct.pack("=BBBBI", 2, 32, 0, 0, 1) + struct.pack("=HH4s", 8, 2, bytes([10, 0, 0, 1])))
attempt("route", netlink, 24, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack("=HHi", 8, 4, 1))
attempt("neighbour", netlink, 28, struct.pack("=BBHiHBB", 2, 0, 0, 1, 128, 0, 0))
s = socket.socket()
for name, request in {"SIOCSIFFLAGS": 0x8914, "SIOCSIFADDR": 0x8916, "SIOCADDRT": 0x890b, "SIOCBRADDBR": 0x89a0}.items():
    attempt(name, fcntl.ioctl, s, request, struct.pack("16sH22x", b"lo", 0))`,
  );
  expect(lines).toHaveLength(8);
  for (const line of lines) expect(line).toMatch(/ (EPERM|EACCES|EINVAL|ENOPKG)$/);
  expect(lines.slice(0, 4)).toEqual(["link EPERM", "address EPERM", "route EPERM", "neighbour EPERM"]);
});
