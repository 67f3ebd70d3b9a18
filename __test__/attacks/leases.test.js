"use strict";
// A file lease makes a process that opens or executes the file wait for the lease's holder. Init and the host's
// programs must not wait.

const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("../fixture/directory");
const { compile, python } = require("../fixture/guest-programs");
const { boot } = require("../fixture/vm");

/** Calls `fcntl` on a file: F_SETLEASE (1024) with each kind of lease, F_NOTIFY (1026), and commands that Linux 6.18 lacks. */
const ASK_FOR_LEASES = (file) => `
fcntl = ${process.arch === "x64" ? 72 : 25}
libc.syscall.argtypes = [ctypes.c_long] * 4
libc.syscall.restype = ctypes.c_long
fd = os.open(${JSON.stringify(file)}, os.O_RDONLY)
directory = os.open(os.path.dirname(${JSON.stringify(file)}), os.O_RDONLY)
for high in (0, 1 << 32, 0xffffffff << 32):
    for lease in (0, 1, 2):
        attempt("lease", libc.syscall, fcntl, fd, 1024 | high, lease)
    attempt("notify", libc.syscall, fcntl, directory, 1026 | high, 0x8000003f)
    for later in (1039, 1040, 2047):
        attempt("later", libc.syscall, fcntl, fd, later | high, 0)
print(libc.syscall(fcntl, fd, 1025, 0), libc.syscall(fcntl, fd, 1030, 3) >= 0, libc.syscall(fcntl, fd, 1, 0))`;

const REFUSED = ["lease EINVAL", "lease EINVAL", "lease EINVAL", "notify EINVAL", ...Array(3).fill("later EINVAL")];

for (const isolation of ["namespaces", "landlock"]) {
  test(`no lease and no directory notification is had under ${isolation}, by no spelling of the command`, async () => {
    const vm = await boot({ isolation });
    const home = (await vm.exec("printf %s $HOME")).stdout;
    await vm.exec("echo content > file");
    const lines = await python(vm, ASK_FOR_LEASES(`${home}/file`));
    // 2 is F_UNLCK: no process holds a lease.
    expect(lines).toEqual([...REFUSED, ...REFUSED, ...REFUSED, "2 True 1"]);
  });
}

/** Takes a lease on each given file, again and again, and never releases one by itself. */
const LEASER = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
int main(int count, char **files) {
    signal(SIGIO, SIG_IGN);
    int fds[16];
    for (int i = 1; i < count && i < 16; i++) fds[i] = open(files[i], O_RDONLY);
    puts("ready"); fflush(stdout);
    for (;;) {
        for (int i = 1; i < count && i < 16; i++) fcntl(fds[i], F_SETLEASE, F_WRLCK), fcntl(fds[i], F_SETLEASE, F_RDLCK);
        usleep(1000);
    }
}`;

const took = async (call) => {
  const begun = performance.now();
  await call();
  return performance.now() - begun;
};

test("leases on files that init executes or the host writes delay neither", async () => {
  const shown = temporaryDirectory();
  fs.writeFileSync(path.join(shown, "data"), "of the host");
  fs.chmodSync(shown, 0o755);
  const vm = await boot({ mounts: [{ path: "/shown", hostPath: shown, readOnly: true }] });
  const leaser = await compile(vm, LEASER);
  await vm.exec("mkdir -p ~/.local/bin && cp /bin/bash ~/.local/bin/bash");
  const files = ["/home/user/.local/bin/bash", "/shown/data"];
  const { pid } = await vm.spawn(leaser, files);
  await new Promise((resolve) => vm.once("processOutput", resolve));

  const times = {
    openShell: await took(() => vm.openShell({ command: "/home/user/.local/bin/bash" })),
    exec: await took(() => vm.execFile("/home/user/.local/bin/bash", ["-c", "sleep 100"], { timeout: 200 })),
    readFile: await took(() => vm.readFile("/etc/passwd")),
    hostWrite: await took(() => fs.writeFileSync(path.join(shown, "data"), "of the host, later")),
    killProcess: await took(() => vm.killProcess(pid)),
  };
  // A lease can block for 45 seconds (/proc/sys/fs/lease-break-time).
  for (const [name, time] of Object.entries(times))
    expect({ name, prompt: time < 30_000 }).toEqual({ name, prompt: true });
});
