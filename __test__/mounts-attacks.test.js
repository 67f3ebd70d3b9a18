"use strict";
// Files that a guest creates in host directories, and files that are already there: neither lead out of the VM.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { attempt, python } = require("./fixture/attempts");
const { temporaryDirectory } = require("./fixture/directory");
const { boot, output } = require("./fixture/vm");

const isRoot = process.getuid() === 0;

/** The files below a directory that have a set-user-id or set-group-id bit. */
const setIds = (where) => execFileSync("find", [where, "-perm", "/6000", "!", "-type", "l"], { encoding: "utf8" });

test("no set-uid or set-gid file can be left in a home by tools that keep modes, by renaming or by linking", async () => {
  const home = temporaryDirectory();
  const vm = await boot({ home });
  const program = (await output(vm, "find /usr/bin -perm -4000 -type f | head -1")).trim();
  await vm.exec(
    `cp -p ${program} copied; cp -a ${program} archived; install -m 6755 /bin/true installed; ` +
      `tar -C / -cf all.tar ${program.slice(1)}; tar -xpf all.tar; mkdir t; tar -C t -xf all.tar; ` +
      `ln ${program} linked; mv ${program} moved; cp -l ${program} hard; rsync -a ${program} synced; ` +
      `python3 -c 'import shutil; shutil.copystat("${program}", "copied")'; umask 0; cp -p ${program} last`,
  );
  expect(fs.readdirSync(home)).toEqual(expect.arrayContaining(["copied", "all.tar", "t"]));
  expect(setIds(home)).toBe("");
});

test("no file gets capabilities, and none of the attributes that the host trusts", async () => {
  const home = temporaryDirectory();
  const vm = await boot({ home });
  const found = await python(
    vm,
    `${attempt}
os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o755))
v2 = bytes.fromhex("0100000200200000000000000000000000000000")
v3 = bytes.fromhex("010000030020000000000000000000000000000000000000")
print(json.dumps([
    attempt(os.setxattr, "file", "security.capability", v2),
    attempt(os.setxattr, "file", "security.capability", v3),
    attempt(os.setxattr, "file", "trusted.overlay.opaque", b"y"),
    attempt(os.setxattr, "file", "security.ima", b"x"),
    attempt(os.chown, "file", 0, -1),
    attempt(os.chown, "file", -1, 0),
]))`,
  );
  expect(found).not.toContain("worked");
  expect(fs.statSync(path.join(home, "file"))).toMatchObject({ uid: process.getuid(), gid: process.getgid() });
});

test("no device node can be made, not even an overlay's whiteout", async () => {
  const home = temporaryDirectory();
  const vm = await boot({ home });
  const found = await python(
    vm,
    `${attempt}
libc = ctypes.CDLL(None, use_errno=True)
os.close(os.open("file", os.O_CREAT | os.O_WRONLY))
renameat2 = ${process.arch === "x64" ? 316 : 276}
moved = libc.syscall(renameat2, -100, b"file", -100, b"other", 4)
print(json.dumps([
    attempt(os.mknod, "null", 0o020666, os.makedev(1, 3)),
    attempt(os.mknod, "memory", 0o020666, os.makedev(1, 1)),
    attempt(os.mknod, "disk", 0o060666, os.makedev(8, 0)),
    attempt(os.mknod, "whiteout", 0o020000, 0),
    moved,
]))`,
  );
  expect(found).toEqual(["EPERM", "EPERM", "EPERM", "EPERM", -1]);
  expect(fs.readdirSync(home)).toEqual(["file"]);
});

test("a FIFO or a socket that a guest leaves delays no file call", async () => {
  const home = temporaryDirectory();
  const vm = await boot({ home });
  await output(vm, "mkfifo pipe; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'");
  await expect(vm.readFile("/home/user/pipe")).rejects.toMatchObject({ code: "EINVAL" });
  await expect(vm.readFile("/home/user/socket")).rejects.toMatchObject({ code: "ENXIO" });
  await expect(vm.writeFile("/home/user/socket", "x")).rejects.toMatchObject({ code: "ENXIO" });
  await vm.delete("/home/user/pipe");
});

test("links that a guest leaves cannot redirect the next VM's mounts", async () => {
  const [home, hostPath] = [temporaryDirectory(), temporaryDirectory()];
  const first = await boot({ home });
  await output(first, "ln -s /usr/bin one; ln -s / two; ln -s ../../proc three; ln -s loop loop");
  await first.dispose();
  const { AgentVm } = require("..");
  for (const place of ["one", "two", "two/opt", "three/x", "loop", "loop/x"]) {
    const mounts = [{ path: `/home/user/${place}`, hostPath, readOnly: false }];
    await expect(AgentVm.create({ home, mounts })).rejects.toMatchObject({ code: "ELOOP", syscall: "mount" });
  }
  expect(fs.readdirSync(hostPath)).toEqual([]);
});

test("set-uid programs in a mount run as the user", async () => {
  const hostPath = temporaryDirectory();
  const program = path.join(hostPath, "whoami");
  fs.copyFileSync("/usr/bin/id", program);
  fs.chmodSync(program, 0o6755);
  const mounts = [{ path: "/data", hostPath, readOnly: false }];
  const vm = await boot({ mounts });
  expect(await output(vm, "/data/whoami -ur; /data/whoami -u; /data/whoami -gr; /data/whoami -g")).toBe(
    "1000\n1000\n1000\n1000\n",
  );
  // A write clears the bit.
  await output(vm, "echo x >> /data/whoami");
  expect(setIds(hostPath)).toBe("");
});

// Cases that need another user's files, a device or an idmapped mount, which an ordinary user cannot have.
if (isRoot) {
  test("a device node in a mount cannot be opened", async () => {
    const hostPath = temporaryDirectory();
    execFileSync("mknod", ["-m", "666", path.join(hostPath, "zero"), "c", "1", "5"]);
    const vm = await boot({ mounts: [{ path: "/data", hostPath, readOnly: false }] });
    expect((await vm.exec("head -c 1 /data/zero")).stderr).toContain("Permission denied");
    await expect(vm.readFile("/data/zero")).rejects.toMatchObject({ code: "EACCES" });
  });

  test("sockets and FIFOs of the host in a read-only mount take nothing from inside", async () => {
    const hostPath = temporaryDirectory();
    const server = net.createServer((socket) => socket.end("of the host"));
    await new Promise((resolve) => {
      server.listen(path.join(hostPath, "socket"), resolve);
    });
    fs.chmodSync(path.join(hostPath, "socket"), 0o777);
    execFileSync("mkfifo", ["-m", "666", path.join(hostPath, "pipe")]);
    const pipe = fs.openSync(path.join(hostPath, "pipe"), fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
    try {
      const vm = await boot({ mounts: [{ path: "/data", hostPath }] });
      const found = await python(
        vm,
        `${attempt}
import socket
print(json.dumps([
    attempt(socket.socket(socket.AF_UNIX).connect, "/data/socket"),
    attempt(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto, b"x", "/data/socket"),
    attempt(os.open, "/data/pipe", os.O_WRONLY | os.O_NONBLOCK),
]))`,
      );
      expect(found).toEqual(["EACCES", "EACCES", "EACCES"]);
    } finally {
      fs.closeSync(pipe);
      server.close();
    }
  });

  test("what others own in a home can be read as others may, and not be written, linked, moved or removed", async () => {
    const home = temporaryDirectory();
    const other = path.join(home, "other");
    fs.writeFileSync(other, "open to all");
    fs.chmodSync(other, 0o666);
    fs.chownSync(other, 12_345, 12_345);
    fs.writeFileSync(path.join(home, "secret"), "closed", { mode: 0o600 });
    fs.chownSync(path.join(home, "secret"), 12_345, 12_345);
    const vm = await boot({ home });
    expect(await output(vm, "cat other; stat -c ' %u' other")).toBe("open to all 65534\n");
    const attempts = "cat secret; echo x > other; rm -f other; ln other l; mv other o; chmod 777 other; mv secret s";
    const { stderr } = await vm.exec(attempts);
    expect(stderr.trim().split("\n")).toHaveLength(7);
    expect(fs.readdirSync(home).sort()).toEqual(["other", "secret"]);
    expect(fs.readFileSync(other, "utf8")).toBe("open to all");
    expect(fs.statSync(other)).toMatchObject({ uid: 12_345, gid: 12_345 });
  });
}
