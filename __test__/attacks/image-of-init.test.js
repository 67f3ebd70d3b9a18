"use strict";
// Init's own program: `/proc/self/exe` names it for a program whose path init's child resolves.

const { execFileSync } = require("node:child_process");
const { python } = require("../fixture/guest-programs");
const { withInit } = require("../fixture/processes");
const { rejection } = require("../fixture/promises");
const { atLevel, boot, output } = require("../fixture/vm");

/** Paths that name it, as a program and as an interpreter. */
const NAMES = ["/proc/self/exe", "/proc/thread-self/exe", "/proc/1/exe", "/proc/self/task/1/exe", "/dev/fd/../exe"];

describe.each(["namespaces", "landlock"])("at the level %s", (isolation) => {
  beforeAll(() => atLevel(isolation));

  test("it does not run as a program of the VM's, by whatever name", async () => {
    const vm = await boot();
    const home = (await output(vm, "echo $HOME")).trim();
    for (const name of NAMES) {
      const refused = { code: expect.stringMatching(/^(EACCES|ENOENT)$/), syscall: "execve" };
      expect(await rejection(vm.execFile(name))).toMatchObject(refused);
      await output(vm, `printf '#!${name}\\n' > script && chmod 755 script`);
      expect(await rejection(vm.execFile(`${home}/script`))).toMatchObject(refused);
      expect(await rejection(vm.spawn(`${home}/script`))).toMatchObject(refused);
      expect(await rejection(vm.openShell({ command: `${home}/script` }))).toMatchObject(refused);
    }
  });

  test("a shell that names it as its interpreter does not stop init from finding another", async () => {
    const vm = await boot();
    await output(vm, "mkdir -p bin && printf '#!/proc/self/exe\\n' > bin/sh && chmod 755 bin/sh && cp bin/sh bin/cat");
    const home = (await output(vm, "echo $HOME")).trim();
    const env = { PATH: `${home}/bin:/usr/bin:/bin` };
    expect(await vm.execFile("cat", ["/dev/null"], { env })).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
    expect((await vm.execFile("sh", ["-c", "echo found"], { env })).stdout).toBe("found\n");
  });
});

test("nothing inside writes, changes or replaces it", async () => {
  atLevel("namespaces");
  const vm = await boot();
  const lines = await python(
    vm,
    `
import threading
def everything(path):
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_TRUNC, os.O_PATH):
        attempt("open", os.open, path, flags)
    attempt("truncate", os.truncate, path, 0)
    for mode in (0, 0o777, 0o644): attempt("chmod", os.chmod, path, mode)
    attempt("utime", os.utime, path)
    attempt("attribute", os.setxattr, path, "user.x", b"x")
    attempt("link", os.link, path, "/home/user/image")
    attempt("execute", os.execv, path, ["x"])
for path in ("/proc/1/exe", "/proc/1/task/1/exe", "/proc/1/map_files/400000-401000"): everything(path)
pidfd = os.pidfd_open(1)
for number in range(64): attempt("take", libc.syscall, 438, pidfd, number, 0)`,
  );
  expect(lines).toHaveLength(3 * 12 + 64);
  for (const line of lines) expect(line).toMatch(/ (EACCES|EPERM|ENOENT|EXDEV)$/);
});

if (process.getuid() === 0) {
  test("not even root on the host can change it or make it executable again", async () => {
    atLevel("namespaces");
    const { init } = await withInit(() => boot());
    const script = `
import fcntl, json, os, sys
path = sys.argv[1]
fd = os.open(path, os.O_RDONLY)
def attempt(action, *arguments):
    try:
        action(*arguments)
        return "worked"
    except OSError as error:
        return os.strerror(error.errno)
print(json.dumps({
    "mode": oct(os.fstat(fd).st_mode & 0o7777),
    # F_SEAL_SEAL, SHRINK, GROW, WRITE, EXEC
    "seals": fcntl.fcntl(fd, 1034) & 0x2f,
    "executable": attempt(os.chmod, path, 0o755),
    "write": attempt(os.open, path, os.O_WRONLY),
    "truncate": attempt(os.truncate, path, 0),
    "execute": attempt(os.execv, path, ["agent-vm-init"]),
}))`;
    const found = JSON.parse(execFileSync("python3", ["-c", script, `/proc/${init.pid}/exe`], { encoding: "utf8" }));
    const refused = expect.stringMatching(/Operation not permitted|Text file busy|Permission denied/);
    expect(found).toMatchObject({ mode: "0o444", seals: 0x2f, executable: "Operation not permitted" });
    expect(found).toMatchObject({ write: refused, truncate: refused, execute: "Permission denied" });
  });
}
