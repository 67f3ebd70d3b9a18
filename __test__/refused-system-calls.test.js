"use strict";
const { boot, output } = require("./fixture/vm");

// The same as `attacks/system-calls.test.js` tries call by call, here by well-known commands and flags.

test.each([
  ["unshare -Ur true"],
  ["unshare -m true"],
  ["unshare -n true"],
  ["unshare -p -f true"],
  ["mount -t tmpfs none /tmp"],
  ["mount --bind /tmp /home/user"],
  ["mount -o remount,rw /usr"],
  ["umount /proc"],
  ["nsenter -t 1 -m true"],
  ["chroot / true"],
])("`%s` fails", async (command) => {
  const vm = await boot();
  const { exitCode, stderr } = await vm.exec(command);
  expect(exitCode).toBeGreaterThan(0);
  expect(stderr).not.toBe("");
  expect(stderr).not.toContain("not found");
});

test("no namespace can be made by clone", async () => {
  const vm = await boot();
  const script = `
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
clone = ${process.arch === "x64" ? 56 : 220}
for flag in (0x10000000, 0x20000000, 0x00020000, 0x40000000, 0x04000000, 0x08000000, 0x02000000):
    assert libc.syscall(clone, flag | 17, 0, 0, 0, 0) == -1
    print(errno.errorcode[ctypes.get_errno()])`;
  expect((await vm.execFile("python3", ["-c", script])).stdout).toBe("EPERM\n".repeat(7));
});

test("compilers, pipelines, threads and debugging one's own children still work", async () => {
  const vm = await boot();
  const source = '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n';
  expect(await output(vm, "cat > a.c && gcc a.c -o a && ./a", { stdin: source })).toBe("compiled\n");
  const threads = "import threading; t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()";
  expect((await vm.execFile("python3", ["-c", threads])).stdout).toBe("thread\n");
  expect(await output(vm, "seq 1000 | sort -rn | head -1; git init -q . && git status -s")).toContain("1000\n");
});
