"use strict";
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { temporaryDirectory } = require("../fixture/directory");
const { pythonJson } = require("../fixture/guest-programs");
const { rejection } = require("../fixture/promises");
const { boot, output } = require("../fixture/vm");

const landlock = { isolation: "landlock" };

/** A host directory whose modes allow every user everything. */
function openDirectory() {
  const made = temporaryDirectory();
  fs.chmodSync(made, 0o777);
  fs.writeFileSync(path.join(made, "secret"), "of the host");
  fs.chmodSync(path.join(made, "secret"), 0o666);
  return made;
}

test("no host file but programs is read: no secret, nothing of the server, of other processes' /proc or of another VM", async () => {
  const [vm, other] = await Promise.all([boot(landlock), boot(landlock)]);
  const othersHome = (await output(other, "echo theirs > file; chmod 644 file; chmod 755 . ..; pwd")).trim();
  const places = [
    ...["/etc/shadow", "/etc/passwd-", "/etc/hostname", "/etc/machine-id", "/proc/1/cmdline", "/proc/self/status"],
    ...["environ", "cmdline", "maps", "mem", "status", "stat", "cgroup"].map((name) => `/proc/${process.pid}/${name}`),
    ...[path.join(__dirname, "../../package.json"), path.join(openDirectory(), "secret"), `${othersHome}/file`],
    ...["/dev/ptmx", "/dev/kmsg", "/dev/pts/0", "/sys/kernel/vmcoreinfo"],
  ].filter((place) => fs.existsSync(place));
  expect(places.length).toBeGreaterThan(14);
  for (const place of places) {
    const { stdout, exitCode } = await vm.exec(`head -c 10 '${place}'`);
    expect({ place, stdout, exitCode }).toEqual({ place, stdout: "", exitCode: 1 });
    expect((await rejection(vm.readFile(place))).code).toMatch(/^(EACCES|EPERM|ENOENT)$/);
  }
});

test("no host directory is listed, by commands or by calls", async () => {
  const vm = await boot(landlock);
  const places = [
    "/",
    "/root",
    "/home",
    "/proc",
    "/dev",
    "/etc",
    "/run",
    "/var",
    os.tmpdir(),
    os.homedir(),
    openDirectory(),
  ];
  for (const place of places) {
    expect((await vm.execFile("ls", ["-A", place])).stdout).toBe("");
    expect((await rejection(vm.readdir(place))).code).toBe("EACCES");
  }
});

test("no host file is written, made, moved or removed", async () => {
  const vm = await boot(landlock);
  const there = openDirectory();
  await output(vm, "echo mine > mine; mkdir empty");
  const attempts = [
    `echo x > ${there}/secret`,
    `echo x >> ${there}/secret`,
    `: > ${there}/secret`,
    `truncate -s 0 ${there}/secret`,
    `echo x > ${there}/new`,
    `mkdir ${there}/new`,
    `mkfifo ${there}/new`,
    `ln -s /etc ${there}/new`,
    `ln mine ${there}/new`,
    `ln ${there}/secret linked && echo x > linked`,
    `mv -T mine ${there}/new && ! test -e mine`,
    `mv -T empty ${there}/new && ! test -e empty`,
    `rm -f ${there}/secret`,
    `ln -s ${there}/secret way; echo x > way`,
    `cd ${there} && echo x > secret`,
    "echo x > /usr/bin/x",
    "echo x > /dev/shm/agent-vm-test",
    `echo x > ${os.tmpdir()}/agent-vm-test`,
  ];
  for (const attempt of attempts) {
    const { exitCode } = await vm.exec(attempt);
    expect({ attempt, worked: exitCode === 0 }).toEqual({ attempt, worked: false });
  }
  const home = (await output(vm, "pwd")).trim();
  for (const call of [
    () => vm.writeFile(`${there}/secret`, "x"),
    () => vm.writeFile(`${there}/new`, "x"),
    () => vm.writeFile(`${home}/way`, "x"),
    () => vm.mkdir(`${there}/new`),
    () => vm.delete(`${there}/secret`),
    () => vm.delete(there, { recursive: true }),
    () => vm.move(`${there}/secret`, `${home}/stolen`),
    () => vm.move(`${home}/mine`, `${there}/new`),
  ]) {
    expect((await rejection(call())).code).toMatch(/^(EACCES|EPERM|EXDEV)$/);
  }
  expect(fs.readdirSync(there)).toEqual(["secret"]);
  expect(fs.readFileSync(path.join(there, "secret"), "utf8")).toBe("of the host");
});

// Landlock itself controls none of these, so the server's own user could do all of them.
test("no mode, owner, time or attribute of a host file is changed", async () => {
  const vm = await boot(landlock);
  const there = openDirectory();
  const secret = path.join(there, "secret");
  const before = fs.statSync(secret);
  const results = await pythonJson(
    vm,
    { there, secret },
    `
os.symlink(secret, "way")
os.symlink(there, "directory")
outside = os.open(there, os.O_PATH)
inside = os.open(".", os.O_RDONLY)
up = "../" * 20 + secret[1:]
print(json.dumps({
    "chmod": attempt(lambda: os.chmod(secret, 0o600)),
    "by a link": attempt(lambda: os.chmod("way", 0o600)),
    "by a directory's link": attempt(lambda: os.chmod("directory/secret", 0o600)),
    "from a directory": attempt(lambda: os.chmod("secret", 0o600, dir_fd=outside)),
    "absolute from a directory": attempt(lambda: os.chmod(secret, 0o600, dir_fd=inside)),
    "up": attempt(lambda: os.chmod(up, 0o600)),
    "of the directory": attempt(lambda: os.chmod(there, 0o700)),
    "utime": attempt(lambda: os.utime(secret, (1, 1))),
    "utime by a link": attempt(lambda: os.utime("way", (1, 1))),
    "chown": attempt(lambda: os.chown(secret, -1, os.getgid())),
    "setxattr": attempt(lambda: os.setxattr(secret, "user.x", b"x")),
    "in the working directory": attempt(lambda: (os.chdir(there), os.chmod("secret", 0o600))),
}))`,
  );
  expect(Object.entries(results).filter(([, result]) => result === "worked")).toEqual([]);
  const after = fs.statSync(secret);
  expect([after.mode, after.uid, after.gid, after.mtimeMs, after.ctimeMs]).toEqual([
    before.mode,
    before.uid,
    before.gid,
    before.mtimeMs,
    before.ctimeMs,
  ]);
});

test("the VM's own files have their modes and times changed by every call there is", async () => {
  const vm = await boot(landlock);
  const results = await pythonJson(
    vm,
    { x64: process.arch === "x64" },
    `
open("file", "w").close()
os.mkdir("directory")
open("directory/below", "w").close()
os.symlink("file", "link")
here = os.open("directory", os.O_RDONLY)
def mode(path):
    return oct(os.stat(path).st_mode & 0o7777)
def mtime(path):
    return os.lstat(path).st_mtime
found = []
os.chmod("file", 0o640); found.append(mode("file"))
os.chmod(os.path.abspath("file"), 0o600); found.append(mode("file"))
os.chmod("link", 0o700); found.append(mode("file"))
os.chmod("below", 0o440, dir_fd=here); found.append(mode("directory/below"))
os.chmod("directory/../file", 0o400); found.append(mode("file"))
os.fchmod(here, 0o750); found.append(mode("directory"))
os.utime("file", (1, 2)); found.append(mtime("file"))
os.utime("link", (3, 4), follow_symlinks=False); found.append(mtime("link"))
os.utime(here, (5, 6)); found.append(mtime("directory"))
os.utime("below", (7, 8), dir_fd=here); found.append(mtime("directory/below"))
unnamed = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
os.fchmod(unnamed, 0o640); found.append(oct(os.fstat(unnamed).st_mode & 0o7777))
if x64:
    seconds = (ctypes.c_long * 2)(9, 10)
    assert libc.syscall(132, b"directory", seconds) == 0
    found.append(mtime("directory"))
    both = (ctypes.c_long * 4)(11, 0, 12, 0)
    assert libc.syscall(235, b"directory", both) == 0
    found.append(mtime("directory"))
found.append(attempt(lambda: os.chmod("missing", 0o600)))
found.append(call(90 if x64 else 53, ctypes.c_void_p(8), 0o600) if x64 else "EFAULT")
print(json.dumps(found))`,
  );
  const legacy = process.arch === "x64" ? [10, 12] : [];
  expect(results).toEqual([
    ...["0o640", "0o600", "0o700", "0o440", "0o400", "0o750", 2, 4, 6, 8, "0o640"],
    ...legacy,
    ...["ENOENT", "EFAULT"],
  ]);
});

test("file calls reach what commands reach, and see their files", async () => {
  const vm = await boot(landlock);
  const home = (await output(vm, "pwd; echo one > made")).trim();
  expect(Buffer.from(await vm.readFile(`${home}/made`)).toString()).toBe("one\n");
  await vm.writeFile(`${home}/a/b/c`, "two");
  expect(await output(vm, "cat a/b/c; rm a/b/c")).toBe("two");
  expect(await vm.readdir(`${home}/a/b`)).toEqual([]);
  await vm.move(`${home}/made`, `${home}/moved`);
  expect((await vm.stat(`${home}/moved`)).size).toBe(4);
  await vm.delete(home + "/a", { recursive: true });
  expect(await vm.readdir(home)).toEqual(["moved"]);
  expect((await vm.readFile("/usr/bin/env")).length).toBeGreaterThan(1000);
});
