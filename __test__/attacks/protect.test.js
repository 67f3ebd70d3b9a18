"use strict";
// Programs that try to write to protected places, or to keep what holds them on the host.

const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("../..");
const { attempt, python: pythonIn } = require("../fixture/attempts");
const { temporaryDirectory } = require("../fixture/directory");
const { boot, output } = require("../fixture/vm");

const work = (hostPath, protect) => [{ path: "/work", hostPath, readOnly: false, protect }];
const names = (where) => fs.readdirSync(where, { recursive: true }).sort();
/** When a placeholder was modified, in seconds. */
const MARK = 500_000_002;

const python = (vm, script) => pythonIn(vm, script, { cwd: "/work" });

/** A repository with hooks, and a file beside it. */
function repository() {
  const where = temporaryDirectory();
  fs.mkdirSync(path.join(where, ".git/hooks"), { recursive: true });
  fs.writeFileSync(path.join(where, ".git/hooks/sample"), "#!/bin/sh\n");
  fs.writeFileSync(path.join(where, ".git/config"), "[core]\n");
  return where;
}

test("no call writes to a protected place, or puts something else at its name", async () => {
  const where = repository();
  const before = names(where);
  const vm = await boot({ mounts: work(where, [".git/hooks", ".git/config", "missing", "none/below/"]) });
  const found = await python(
    vm,
    `${attempt}
libc = ctypes.CDLL(None, use_errno=True)
renameat2 = ${process.arch === "x64" ? 316 : 276}
def exchange(one, other):
    if libc.syscall(renameat2, -100, one, -100, other, 2) != 0:
        raise OSError(ctypes.get_errno(), "")
os.mkdir("mine")
git = os.open(".git", os.O_PATH)
hooks = os.open(".git/hooks", os.O_RDONLY)
config = os.open(".git/config", os.O_RDONLY)
write = os.O_WRONLY
print(json.dumps([attempt(*call) for call in [
    (os.open, ".git/config", write), (os.open, ".git/config", write | os.O_TRUNC), (os.open, "missing", write),
    (os.open, f"/proc/self/fd/{config}", write), (os.open, f"/proc/self/fd/{hooks}/x", write | os.O_CREAT),
    (os.open, f"/proc/self/cwd/.git/hooks/x", write | os.O_CREAT), (os.open, ".git/hooks", os.O_TMPFILE | os.O_RDWR),
    (os.mkdir, "none/below/x"), (os.symlink, "/etc", ".git/hooks/x"), (os.mkfifo, ".git/hooks/x"),
    (os.link, ".git/hooks/sample", ".git/hooks/x"), (os.unlink, ".git/hooks/sample"), (os.truncate, ".git/config", 0),
    (os.utime, ".git/config"), (os.chmod, ".git/config", 0o777), (os.fchmod, config, 0o777),
    (os.setxattr, ".git/config", "user.x", b"x"), (os.removexattr, ".git/config", "user.x"),
]]))`,
  );
  expect(found).toEqual(Array(18).fill("EROFS"));
  const moved = await python(
    vm,
    `${attempt}
libc = ctypes.CDLL(None, use_errno=True)
renameat2 = ${process.arch === "x64" ? 316 : 276}
def exchange(one, other):
    if libc.syscall(renameat2, -100, one, -100, other, 2) != 0:
        raise OSError(ctypes.get_errno(), "")
open("file", "w").close()
print(json.dumps([attempt(*call) for call in [
    (os.rename, ".git", "x"), (os.rename, "mine", ".git"), (exchange, b".git", b"mine"), (exchange, b"mine", b".git"),
    (exchange, b"missing", b"file"), (os.rename, "file", "missing"), (os.unlink, "missing"), (os.rmdir, "none/below"),
    (os.rmdir, "none"), (os.rename, "none", "x"), (os.rename, ".git/hooks", ".git/x"), (os.unlink, ".git/config"),
]]))`,
  );
  expect(moved).toEqual(Array(12).fill("EBUSY"));
  const crossed = await python(
    vm,
    `${attempt}
print(json.dumps([attempt(*call) for call in [
    (os.link, ".git/config", "x"), (os.link, ".git/config", ".git/x"), (os.rename, ".git/config", "x"), (os.link, "missing", "x"),
]]))`,
  );
  expect(crossed).toEqual(["EXDEV", "EXDEV", expect.stringMatching("EXDEV|EBUSY"), "EXDEV"]);
  await vm.dispose();
  expect(names(where)).toEqual([...before, "file", "mine"].sort());
  expect(fs.readFileSync(path.join(where, ".git/config"), "utf8")).toBe("[core]\n");
});

test("programs cannot mount, nor leave the mount namespace that pins the places", async () => {
  const where = repository();
  const vm = await boot({ mounts: work(where, [".git/hooks"]) });
  const { stdout } = await vm.exec(
    "umount .git/hooks; umount -l .git; unshare -Urm true; mount --bind /tmp .git/hooks; mount -o remount,rw,bind .git/hooks; " +
      "touch .git/hooks/x; ls .git/hooks",
    { cwd: "/work" },
  );
  expect(stdout).toBe("sample\n");
});

test("a program that takes its own rights away leaves no placeholder", async () => {
  const where = temporaryDirectory();
  fs.mkdirSync(path.join(where, "deep"));
  const vm = await boot({ mounts: work(where, ["file", "deep/file", "new/below/file"]) });
  await output(vm, "chmod 0 new/below; chmod 500 new deep; chmod 0 .", { cwd: "/work" });
  await vm.dispose();
  expect(fs.statSync(where).mode & 0o777).toBe(0);
  fs.chmodSync(where, 0o700);
  expect(fs.statSync(path.join(where, "deep")).mode & 0o777).toBe(0o500);
  fs.chmodSync(path.join(where, "deep"), 0o700);
  expect(names(where)).toEqual(["deep"]);
});

test("locks that programs hold on everything they can open delay neither another VM nor the removal", async () => {
  const where = temporaryDirectory();
  const options = { mounts: work(where, ["file", "new/below/"]) };
  const vm = await boot(options);
  const locker = await vm.spawn("python3", [
    "-c",
    `import fcntl, os, time
kept = [os.open(f"/work/{name}", os.O_RDONLY) for name in (".", "file", "new", "new/below")]
for fd in kept: fcntl.flock(fd, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(1000)`,
  ]);
  await vm.waitForOutput(locker.pid, "locked");
  const other = await boot(options);
  expect((await other.exec("echo x > file", { cwd: "/work" })).stderr).toContain("Read-only");
  await other.dispose();
  expect((await vm.exec("echo x > file; mkdir new/below/x", { cwd: "/work" })).stderr.match(/Read-only/g)).toHaveLength(
    2,
  );
  await vm.dispose();
  expect(names(where)).toEqual([]);
});

test("a forged mark hides no hard link, and takes no file away", async () => {
  const where = repository();
  const first = await boot({ mounts: work(where, []) });
  await output(
    first,
    `ln .git/hooks/sample other && echo content > full && ln full name && : > empty && ` +
      `touch -d @${MARK} .git/hooks .git full name`,
    { cwd: "/work" },
  );
  await first.dispose();
  for (const place of [".git/hooks", ".git/hooks/", "full", "name"]) {
    await expect(AgentVm.create({ mounts: work(where, [place]) })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  }
  fs.rmSync(path.join(where, "other"));
  fs.rmSync(path.join(where, "name"));
  fs.utimesSync(path.join(where, ".git/hooks"), MARK, MARK);
  const before = names(where);
  const second = await boot({ mounts: work(where, [".git/hooks", "full", "empty"]) });
  expect(await output(second, "cat full; ls .git/hooks", { cwd: "/work" })).toBe("content\nsample\n");
  await second.dispose();
  expect(names(where)).toEqual(before);
});

test("a neighbour that exchanges a directory for a link while VMs start makes nothing outside of the mount", async () => {
  const [where, outside] = [temporaryDirectory(), temporaryDirectory()];
  fs.mkdirSync(path.join(outside, "sub"));
  const neighbour = await boot({ mounts: [...work(where, []), { path: outside, hostPath: outside, readOnly: false }] });
  const exchanger = await neighbour.spawn("python3", [
    "-c",
    `import os, shutil
os.chdir("/work")
print("begun", flush=True)
while True:
    for make in (lambda: os.symlink("${outside}", "x"), lambda: os.mkdir("x")):
        try:
            make()
            os.rename("x", ".git")
        except OSError:
            try:
                shutil.rmtree("x") if os.path.isdir("x") and not os.path.islink("x") else os.unlink("x")
            except OSError: pass
        try:
            os.rename(".git", "y")
            shutil.rmtree("y") if not os.path.islink("y") else os.unlink("y")
        except OSError: pass`,
  ]);
  await neighbour.waitForOutput(exchanger.pid, "begun");
  const codes = new Set();
  for (let i = 0; i < 20; i++) {
    const mounts = work(where, [".git/sub/hooks/", ".git/config"]);
    const made = AgentVm.create({ mounts }).then((vm) => vm.dispose());
    await made.catch(({ code }) => codes.add(code));
    expect(names(outside)).toEqual(["sub"]);
  }
  await neighbour.dispose();
  const refusals = ["INVALID_ARGUMENT", "ISOLATION_UNAVAILABLE", "EBUSY", "ELOOP", "ENOENT", "ENOTDIR", "ESTALE"];
  expect([...codes].filter((code) => !refusals.includes(code))).toEqual([]);
});
