"use strict";
// At a limit of 0 the kernel writes no core file, but still runs, as root, the handler that the host's `core_pattern`
// names. At a limit of 1 it does neither (core(5)).

const { compile, python } = require("../fixture/guest-programs");
const { boot } = require("../fixture/vm");

const CRASH = "#include <signal.h>\nint main(void) { raise(SIGSEGV); return 0; }";

const LOWER = `
import resource
setrlimit, prlimit64 = ${process.arch === "x64" ? "160, 302" : "164, 261"}
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
# A pointer whose lower half is zero: MAP_FIXED_NOREPLACE at 4 GiB.
low = libc.mmap(ctypes.c_void_p(1 << 32), 4096, 3, 0x100022, -1, 0)
assert low == 1 << 32
none = (ctypes.c_uint64 * 2)(0, 0)
ctypes.memmove(low, none, 16)
for high in (0, 1 << 32):
    core = ctypes.c_long(4 | high)
    attempt("setrlimit", libc.syscall, setrlimit, core, ctypes.byref(none))
    attempt("prlimit", libc.syscall, prlimit64, ctypes.c_long(0), core, ctypes.byref(none), None)
    attempt("prlimit of itself", libc.syscall, prlimit64, ctypes.c_long(os.getpid()), core, ctypes.byref(none), None)
    attempt("low half", libc.syscall, prlimit64, ctypes.c_long(0), core, ctypes.c_void_p(low), None)
print(*resource.getrlimit(resource.RLIMIT_CORE))
resource.setrlimit(resource.RLIMIT_NPROC, (100, 100))
print(*resource.getrlimit(resource.RLIMIT_NPROC))`;

for (const isolation of ["namespaces", "landlock"]) {
  test(`the limit on core dumps is 1 under ${isolation}, and no program sets another, though the calls succeed`, async () => {
    const vm = await boot({ isolation });
    // Under "landlock" no call reaches a process by its pid, not even the caller itself.
    const itself = `prlimit of itself ${isolation === "landlock" ? "EPERM" : "worked"}`;
    const calls = ["setrlimit worked", "prlimit worked", itself, "low half worked"];
    expect(await python(vm, LOWER)).toEqual([...calls, ...calls, "1 1", "100 100"]);
    expect((await vm.exec("ulimit -c 0; ulimit -c unlimited; prlimit --core --raw --noheadings")).stdout).toContain(
      "1 1",
    );
  });
}

test("a program that crashes leaves no core file", async () => {
  const vm = await boot();
  const crash = await compile(vm, CRASH);
  expect(await vm.execFile(crash)).toMatchObject({ signal: "SIGSEGV" });
  expect(await vm.exec(`ulimit -c 0; ${crash}; ls`)).toMatchObject({ stdout: "" });
});
