"use strict";
// Resources that the kernel has once for the whole machine: AIO requests, terminals, flushes of file systems, its log.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { python } = require("../fixture/guest-programs");
const { rejection } = require("../fixture/promises");
const { boot, output } = require("../fixture/vm");

const x64 = process.arch === "x64";
const AIO = {
  io_setup: [206, 0],
  io_destroy: [207, 1],
  io_submit: [209, 2],
  io_cancel: [210, 3],
  io_getevents: [208, 4],
  io_pgetevents: [333, 292],
};

/** Prints how many pages of a file wait to be written to the disk: `cachestat(2)`, Linux 6.5. */
const DIRTY = `
import ctypes, os, sys
range, counts = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(451, os.open(sys.argv[1], os.O_RDONLY), range, counts, 0) != 0: raise OSError(ctypes.get_errno(), "cachestat")
print(counts[1])`;
const dirty = (file) => Number(execFileSync("python3", ["-c", DIRTY, file], { encoding: "utf8" }));

for (const isolation of ["namespaces", "landlock"]) {
  test(`no call of AIO is there under ${isolation}, and none of the host's requests is taken`, async () => {
    const vm = await boot({ isolation });
    const taken = () => Number(fs.readFileSync("/proc/sys/fs/aio-nr", "utf8"));
    const before = taken();
    const calls = Object.entries(AIO).map(([name, numbers]) => `("${name}", ${numbers[x64 ? 0 : 1]})`);
    const lines = await python(
      vm,
      `
context = ctypes.c_ulong(0)
for name, number in (${calls.join(", ")}):
    attempt(name, libc.syscall, number, 65536, ctypes.byref(context), 0, 0, 0, 0)`,
    );
    expect(lines).toEqual(Object.keys(AIO).map((name) => `${name} ENOSYS`));
    expect(taken()).toBeLessThan(before + 65536);
  });

  test(`no program flushes the host's file systems under ${isolation}, and each can flush its own files`, async () => {
    const vm = await boot({ isolation });
    const [sync, syncfs] = x64 ? [162, 306] : [81, 267];
    const lines = await python(
      vm,
      `
fd = os.open("own", os.O_CREAT | os.O_RDWR)
os.write(fd, b"content")
# Nothing is done, whatever it is called with; the call itself cannot fail.
print(libc.syscall(${sync}))
attempt("syncfs", libc.syscall, ${syncfs}, fd)
attempt("fsync", os.fsync, fd)
attempt("fdatasync", os.fdatasync, fd)`,
    );
    expect(lines).toEqual(["0", "syncfs ENOSYS", "fsync worked", "fdatasync worked"]);
    expect(await output(vm, "sync && sync own && echo on")).toBe("on\n");
  });

  test(`what the host has not yet written to its disk stays so under ${isolation}`, async () => {
    const vm = await boot({ isolation });
    // On a disk; /tmp may be in memory.
    const directory = fs.mkdtempSync("/var/tmp/agent-vm-test-");
    try {
      // The host itself may flush at any moment, but will not do so every time.
      const left = [];
      for (let round = 0; round < 5 && !left.some((pages) => pages > 0); round++) {
        const file = path.join(directory, String(round));
        fs.writeFileSync(file, Buffer.alloc(1 << 20, round + 1));
        expect(await output(vm, `sync; python3 -c 'import os; os.sync(); print("on")'`)).toBe("on\n");
        left.push(dirty(file));
      }
      expect(left.at(-1)).toBeGreaterThan(0);
    } finally {
      fs.rmSync(directory, { recursive: true });
    }
  });

  test(`no program has the kernel log its filter's answers under ${isolation}`, async () => {
    const vm = await boot({ isolation });
    const lines = await python(
      vm,
      `
# SECCOMP_SET_MODE_FILTER without a filter is EFAULT once the flags are taken.
for high in (0, 1 << 32):
    for flags in (0, 1, 4, 2, 3, 6):
        attempt(flags, libc.syscall, ${x64 ? 317 : 277}, ctypes.c_long(1), ctypes.c_long(flags | high), None)`,
    );
    const expected = ["0 EFAULT", "1 EFAULT", "4 EFAULT", "2 EINVAL", "3 EINVAL", "6 EINVAL"];
    expect(lines).toEqual([...expected, ...expected]);
  });
}

/** Opens terminals until none is left, prints how many it got, and keeps them. */
const TAKE_TERMINALS = `
import errno, os, time
taken = []
try:
    while True: taken.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
except OSError as error: print(errno.errorcode[error.errno], len(taken), flush=True)
time.sleep(1000)`;

async function takeTerminals(vm) {
  let printed = "";
  const { pid } = await vm.spawn("python3", ["-c", TAKE_TERMINALS], { onStdout: (data) => (printed += data) });
  await new Promise((resolve) => vm.once("processOutput", resolve));
  return { pid, printed };
}

test("a VM has 64 terminals, or what limits.terminals says, and its own shells count", async () => {
  const vm = await boot();
  const { pid, printed } = await takeTerminals(vm);
  expect(printed).toBe("ENOSPC 64\n");
  expect(await rejection(vm.openShell())).toMatchObject({ code: "ENOSPC", path: "/dev/ptmx" });
  await vm.killProcess(pid);
  await vm.openShell();
  expect((await takeTerminals(vm)).printed).toBe("ENOSPC 63\n");

  const few = await boot({ limits: { terminals: 2 } });
  await few.openShell();
  expect((await takeTerminals(few)).printed).toBe("ENOSPC 1\n");
});

test("VMs that take all the terminals they can leave other VMs' shells alone", async () => {
  const takers = await Promise.all([boot(), boot(), boot()]);
  for (const taker of takers) expect((await takeTerminals(taker)).printed).toBe("ENOSPC 64\n");
  const other = await boot();
  const { shellId } = await other.openShell({ command: "sh", args: ["-c", "exit 5"] });
  expect(await other.waitShell(shellId)).toBe(5);
});

test("limits.terminals is a number from 1 to 4,096, and needs terminals of the VM's own", async () => {
  for (const terminals of [0, 4097, 1.5, "64", null]) {
    expect(await rejection(boot({ limits: { terminals } }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("limits.terminals"),
    });
  }
  expect(await rejection(boot({ isolation: "landlock", limits: { terminals: 9 } }))).toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  expect(await rejection(boot({ isolation: "none", limits: { terminals: 9 } }))).toMatchObject({
    code: "ISOLATION_UNAVAILABLE",
  });
});
