"use strict";
const { boot, output } = require("./fixture/vm");

test.each(["TERM", "KILL", "STOP", "INT", "HUP", "SEGV", "ABRT", "CHLD", "PIPE", "ALRM", "USR1", "RTMIN"])(
  "SIG%s from inside does nothing to init",
  async (signal) => {
    const vm = await boot();
    await vm.exec(`kill -${signal} 1`);
    expect(await output(vm, "echo alive; ps -o stat= -p 1 | cut -c1")).toMatch(/^alive\n[SR]\n$/);
  },
);

test.each([
  "environ",
  "mem",
  "maps",
  "auxv",
  "stack",
  "syscall",
  "io",
  "pagemap",
  "fd",
  "exe",
  "cwd",
  "root",
  "ns/mnt",
])("/proc/1/%s cannot be read", async (name) => {
  const vm = await boot();
  const { stdout, exitCode } = await vm.exec(
    `p=/proc/1/${name}; if [ -L $p ]; then readlink $p; elif [ -d $p ]; then ls $p; else head -c 100 $p; fi`,
  );
  expect({ stdout, failed: exitCode !== 0 }).toEqual({ stdout: "", failed: true });
});

test("init cannot be traced, nor its memory or descriptors taken", async () => {
  const vm = await boot();
  const script = `
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def errno_of(result):
    return "worked" if result != -1 else errno.errorcode[ctypes.get_errno()]
print(errno_of(libc.ptrace(16, 1, 0, 0)))                      # PTRACE_ATTACH
print(errno_of(libc.ptrace(0x4206, 1, 0, 0)))                  # PTRACE_SEIZE
pidfd = os.pidfd_open(1)
print(errno_of(libc.syscall(438, pidfd, 3, 0)))                # pidfd_getfd: the control socket
class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
room = ctypes.create_string_buffer(8)
mine, theirs = iovec(ctypes.addressof(room), 8), iovec(0x400000, 8)
print(errno_of(libc.process_vm_readv(1, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)))`;
  expect((await vm.execFile("python3", ["-c", script])).stdout).toBe("EPERM\n".repeat(4));
});

test("kill -9 -1 ends the user's processes and not the VM", async () => {
  const vm = await boot();
  const { pid } = await vm.spawn("sleep", ["1000"]);
  await vm.exec("kill -9 -1");
  expect(await vm.waitProcess(pid)).toBe(137);
  expect(await output(vm, "echo alive")).toBe("alive\n");
});

test("a command inherits no descriptor of init's or the host's", async () => {
  const vm = await boot();
  // ls has one more: the directory that it lists.
  expect((await vm.execFile("ls", ["/proc/self/fd"])).stdout).toBe("0\n1\n2\n3\n");
});
