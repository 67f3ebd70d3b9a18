"use strict";
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { debianRoot, muslRoot } = require("./fixture/roots");
const { boot, output } = require("./fixture/vm");

let rootfs;

beforeEach(() => {
  rootfs = muslRoot(temporaryDirectory());
});

test("programs are those of the root, and no program of the host appears", async () => {
  const vm = await boot({ rootfs });
  expect(await output(vm, "hello; cat /etc/release; readlink -f $(which ls); pwd; id -un")).toBe(
    "hello from musl\nof musl\n/bin/busybox\n/home/user\nuser\n",
  );
  expect((await vm.exec("ls /usr/bin /lib64 /opt/node; which node python3 git bash gcc")).stdout).toBe("");
  expect(await output(vm, "ls /usr")).toBe("share\n");
});

test("its processes start from an environment that fits it", async () => {
  const vm = await boot({ rootfs, hostname: "other", env: { MORE: "1" } });
  const usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  expect(await output(vm, "echo $SHELL $HOME $PATH $MORE; hostname; cat /etc/hostname; head -1 /etc/hosts")).toBe(
    `/bin/sh /home/user /home/user/.local/bin:${usual} 1\nother\nother\n127.0.0.1\tlocalhost other\n`,
  );
  expect(await output(vm, "cut -d: -f1,3 /etc/passwd")).toBe("root:0\nuser:1000\n");
});

test("a VM shows the root as it is when it is made, although one may be made ahead", async () => {
  const users = async () => {
    const vm = await boot({ rootfs });
    const names = await output(vm, "cut -d: -f1 /etc/passwd; hello");
    await vm.dispose();
    return names;
  };
  expect(await users()).toBe("root\nuser\nhello from musl\n");
  fs.appendFileSync(path.join(rootfs, "etc/passwd"), "another:x:33:33::/:/bin/sh\n");
  expect(await users()).toBe("root\nanother\nuser\nhello from musl\n");
  fs.renameSync(rootfs, `${rootfs}-old`);
  await expect(AgentVm.create({ rootfs })).rejects.toMatchObject({ code: "ENOENT" });
  muslRoot(rootfs);
  fs.rmSync(path.join(rootfs, "bin/hello"));
  fs.symlinkSync("busybox", path.join(rootfs, "bin/hello"));
  await expect(users()).rejects.toThrow(/applet not found/);
  fs.rmSync(`${rootfs}-old`, { recursive: true });
});

test("shells, spawned processes, terminals and file calls work in it", async () => {
  const vm = await boot({ rootfs });
  let screen = "";
  vm.on("shellData", ({ data }) => (screen += Buffer.from(data)));
  const { shellId } = await vm.openShell();
  await vm.writeShell(shellId, "hello; tty; exit 3\n");
  expect(await vm.waitShell(shellId)).toBe(3);
  expect(screen).toContain("hello from musl\r\n");
  expect(screen).toContain("/dev/pts/0");
  const { pid } = await vm.spawn("sh", ["-c", "exit 4"]);
  expect(await vm.waitProcess(pid)).toBe(4);
  await vm.writeFile("/opt/new/file", "x");
  await vm.move("/opt/new/file", "/tmp/file");
  expect(Buffer.from(await vm.readFile("/tmp/file")).toString()).toBe("x");
});

test("files written to the root belong to the VM, and the directory on the host does not change", async () => {
  const before = execFileSync("find", [rootfs, "-printf", "%P %s %m %T@\n"], { encoding: "utf8" });
  const vm = await boot({ rootfs });
  await output(vm, "echo more >> /etc/release; rm /bin/hello; mkdir /new; mv /usr/share /usr/moved; ln -s x /etc/link");
  expect(await output(vm, "cat /etc/release; ls -d /new /usr/moved; ! test -e /bin/hello")).toBe(
    "of musl\nmore\n/new\n/usr/moved\n",
  );
  expect(execFileSync("find", [rootfs, "-printf", "%P %s %m %T@\n"], { encoding: "utf8" })).toBe(before);
  expect(await output(await boot({ rootfs }), "cat /etc/release; hello")).toBe("of musl\nhello from musl\n");
});

test("files written to the root count as private files", async () => {
  const vm = await boot({ rootfs, limits: { diskBytes: 4 * 1024 * 1024 } });
  expect((await vm.exec("dd if=/dev/zero of=/big bs=1M count=8")).stderr).toContain("No space left on device");
  expect(await output(vm, "rm /big; echo on > /small; cat /small")).toBe("on\n");
});

test("devices are those of the VM, whatever the root's own /dev has", async () => {
  fs.mkdirSync(path.join(rootfs, "dev"));
  fs.writeFileSync(path.join(rootfs, "dev/null"), "not null");
  const vm = await boot({ rootfs });
  expect(await output(vm, "cat /dev/null; head -c 2 /dev/zero | wc -c")).toBe("2\n");
  expect((await vm.exec("echo > /dev/mine")).stderr).toContain("Read-only file system");
});

test("a socket and a FIFO in the root reach no process on the host", async () => {
  const listening = path.join(rootfs, "listening");
  const server = require("node:net").createServer((socket) => socket.end("of the host"));
  await new Promise((resolve) => {
    server.listen(listening, resolve);
  });
  fs.chmodSync(listening, 0o777);
  try {
    const vm = await boot({ rootfs });
    expect((await vm.exec("nc local:/listening </dev/null")).stdout).not.toContain("of the host");
    expect((await vm.exec("ls -l /listening")).stdout).toMatch(/^s/);
  } finally {
    server.close();
  }
});

test("home and mounts work with it, and a mount on one of the root's links is refused", async () => {
  const [home, hostPath] = [temporaryDirectory(), temporaryDirectory()];
  fs.writeFileSync(path.join(hostPath, "file"), "shown");
  fs.symlinkSync("share", path.join(rootfs, "usr/link"));
  const vm = await boot({ rootfs, home, mounts: [{ path: "/usr/share/data/deep", hostPath }] });
  expect(await output(vm, "cat /usr/share/data/deep/file; touch here")).toBe("shown");
  expect(fs.readdirSync(home)).toEqual(["here"]);
  const behind = AgentVm.create({ rootfs, mounts: [{ path: "/usr/link/data", hostPath }] });
  expect(await rejection(behind)).toMatchObject({ code: "ELOOP", path: "/usr/link/data" });
  expect(fs.readdirSync(path.join(rootfs, "usr"))).toEqual(["link", "share"]);
});

test("a hostile root's own passwd leads nowhere", async () => {
  fs.rmSync(path.join(rootfs, "etc/passwd"));
  fs.symlinkSync("/etc/shadow", path.join(rootfs, "etc/passwd"));
  fs.writeFileSync(path.join(rootfs, "etc/shadow"), "its own:x:7:7::/:/\n");
  expect(await output(await boot({ rootfs }), "cut -d: -f1 /etc/passwd; id -un")).toBe("its own\nuser\nuser\n");
  fs.rmSync(path.join(rootfs, "etc/passwd"));
  execFileSync("mkfifo", [path.join(rootfs, "etc/passwd")]);
  expect(await output(await boot({ rootfs }), "cut -d: -f1 /etc/passwd")).toBe("user\n");
});

test("a root that another user owns can be used, and most of it is read-only in an ordinary user's VM", async () => {
  // The host's /usr can serve as a root; it is owned by root.
  const vm = await boot({ rootfs: "/usr" });
  expect(await output(vm, "echo x > /etc/new && cat /etc/new && ls -d /share")).toBe("x\n/share\n");
  const { exitCode } = await vm.exec("rm /bin/true");
  expect(exitCode === 0).toBe(process.getuid() === 0);
  expect(fs.existsSync("/usr/bin/true")).toBe(true);
});

test("a root that is missing, no directory, without a shell or the host's own is refused", async () => {
  const missing = path.join(rootfs, "missing");
  expect(await rejection(AgentVm.create({ rootfs: missing }))).toMatchObject({ code: "ENOENT", path: missing });
  const file = path.join(rootfs, "etc/release");
  expect(await rejection(AgentVm.create({ rootfs: file }))).toMatchObject({ code: "ENOTDIR", path: file });
  for (const host of ["/", "/proc"]) {
    expect(await rejection(AgentVm.create({ rootfs: host }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("a VM can show directories of files"),
    });
  }
  expect(await rejection(AgentVm.create({ rootfs: "root" }))).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await rejection(AgentVm.create({ rootfs, isolation: "none" }))).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await rejection(AgentVm.create({ rootfs: temporaryDirectory() }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining("/bin/sh"),
  });
});

// debootstrap makes device nodes and needs root for that. It takes a minute, and its result is kept for the next run.
if (process.getuid() === 0) {
  test("a Debian root runs its own programs, takes writes, and shows nothing of the host's /usr", async () => {
    const rootfs = debianRoot();
    const vm = await boot({ rootfs });
    expect(await output(vm, "dpkg-query -W -f '${Package}\\n' dpkg; perl -e 'print qq(perl\\n)'; id -un")).toBe(
      "dpkg\nperl\nuser\n",
    );
    expect((await vm.exec("ls /usr/bin/git /usr/bin/gcc /usr/bin/node /opt/node")).stdout).toBe("");
    expect(await output(vm, "echo SHELL=$SHELL; rm /usr/bin/perl && ! perl -v 2>/dev/null; echo x > /usr/bin/x")).toBe(
      "SHELL=/bin/bash\n",
    );
    expect(await output(await boot({ rootfs }), "perl -e 'print qq(still)'; ls /usr/bin/x 2>/dev/null; true")).toBe(
      "still",
    );
  }, 600_000);
}
