"use strict";
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

let vm;

beforeEach(async () => {
  vm = await boot();
});

test("links into /proc lead to no root, no descriptor and no memory of init's or anybody's", async () => {
  await output(vm, "ln -s /proc/1/root root; ln -s /proc/self/root self; ln -s /proc/1/fd fds; ln -s loop loop");
  const paths = [
    ...["/proc/1/root/etc/shadow", "/proc/1/cwd/etc", "/proc/self/root/etc/passwd", "/proc/self/exe", "/proc/1/mem"],
    ...["/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/mem", "/proc/self/environ", "/proc/self/maps"],
    ...["/proc/thread-self/mem", "/proc/thread-self/root/etc", "/proc/1/environ", "/dev/fd/1", "/dev/stdin"],
    ...["/home/user/root/etc/passwd", "/home/user/self/etc/passwd", "/home/user/fds/3", "/home/user/loop"],
  ];
  for (const path of paths) {
    const error = await rejection(vm.readFile(path));
    expect({ path, code: error.code }).toEqual({ path, code: expect.stringMatching(/^(EACCES|ELOOP|EPERM)$/) });
    expect(error).toMatchObject({ path, syscall: "open" });
    expect((await rejection(vm.writeFile(path, "x"))).code).toMatch(/^(EACCES|ELOOP|EPERM|EROFS)$/);
  }
  await expect(vm.readdir("/proc/self/fd")).rejects.toMatchObject({ code: "EACCES" });
  await expect(vm.readdir("/proc/1/fd")).rejects.toMatchObject({ code: "EACCES" });
});

test("as many .. as one likes lead to the VM's own root, and a link is what it is inside", async () => {
  await output(vm, "mkdir -p a/b; echo target > target; ln -s ../../target a/b/up; ln -s /home/user/target absolute");
  const up = "../".repeat(60);
  expect(Buffer.from(await vm.readFile(`/home/user/${up}etc/hostname`)).toString()).toBe("agent-vm\n");
  await expect(vm.readFile(`/home/user/${up}etc/shadow`)).rejects.toMatchObject({ code: "ENOENT" });
  // Writes through links go to their targets, and the links stay links.
  await vm.writeFile("/home/user/a/b/up", "one");
  await vm.writeFile("/home/user/absolute", "other");
  expect(await output(vm, "cat target; readlink a/b/up absolute")).toBe("other../../target\n/home/user/target\n");
  await output(vm, "ln -s nowhere/yet dangling");
  await expect(vm.writeFile("/home/user/dangling", "x")).rejects.toMatchObject({ code: "ENOENT" });
  await output(vm, "ln -s made-by-writing dangling2");
  await vm.writeFile("/home/user/dangling2", "x");
  expect(await output(vm, "cat made-by-writing")).toBe("x");
});

test("a name or a path that is too long is an error of its own, at any length", async () => {
  const name = "x".repeat(256);
  const path = "/x".repeat(2100);
  for (const long of [`/home/user/${name}`, `/home/user${path}`, `/${"x".repeat(100_000)}`]) {
    const calls = [
      vm.readFile(long),
      vm.writeFile(long, "x"),
      vm.mkdir(long, { recursive: true }),
      vm.readdir(long),
      vm.stat(long),
      vm.move(long, "/tmp/x"),
      vm.delete(long, { recursive: true }),
    ];
    for (const error of await Promise.all(calls.map((call) => rejection(call)))) {
      expect(error).toMatchObject({ code: "ENAMETOOLONG", path: long });
    }
    expect(await vm.exists(long)).toBe(false);
  }
  // More than a message to init can hold.
  const endless = await rejection(vm.stat(`/${"x".repeat(17 * 1024 * 1024)}`));
  expect(endless.code).toMatch(/^(ENAMETOOLONG|E2BIG|LIMIT_EXCEEDED)$/);
  expect(await output(vm, "ls -A")).toBe("");
  await vm.writeFile(`/home/user/${"x".repeat(255)}`, "fits");
});

test("files without an end or a size are refused or bounded, and delay no other call", async () => {
  await output(vm, "mkfifo pipe; truncate -s 3G sparse; ln -s /dev/zero zero; ln -s pipe link");
  // A process that reads and writes at the other end changes nothing.
  await vm.spawn("sh", ["-c", "exec 3<>pipe; sleep 100"]);
  const refused = { code: expect.stringMatching(/^(EINVAL|EIO|ENXIO|EACCES)$/) };
  for (const path of ["/dev/zero", "/home/user/zero", "/dev/random", "/dev/tty", "/dev/ptmx", "/home/user/link"]) {
    await expect(vm.readFile(path)).rejects.toMatchObject({ ...refused, path });
    await expect(vm.writeFile(path, "x")).rejects.toMatchObject({ ...refused, path });
  }
  await expect(vm.writeFile("/dev/full", "x")).rejects.toMatchObject(refused);
  await expect(vm.readFile("/home/user/sparse")).rejects.toMatchObject({ code: "EFBIG", syscall: "read" });
  // Files of the kernel have an end, though they report no size.
  expect(Buffer.from(await vm.readFile("/proc/version")).toString()).toMatch(/^Linux version/);
});

test("a directory that is swapped for a link while calls run leads them nowhere else", async () => {
  // The directory and a link to a protected directory change places as fast as the kernel allows.
  const swap = `
import ctypes, os
libc = ctypes.CDLL(None)
number = ${process.arch === "x64" ? 316 : 276}
print("up", flush=True)
turn = 0
while True:
    libc.syscall(number, -100, b"work", -100, b"link", 2)
    turn += 1
    if turn % 64 == 0:
        # What the calls have deleted by then.
        for make in (lambda: os.symlink("keep", "link"), lambda: os.makedirs("work/deep")):
            try:
                make()
            except OSError:
                pass`;
  await output(vm, "mkdir keep; echo kept > keep/file; mkdir work; ln -s keep link");
  const up = new Promise((resolve) => vm.once("processOutput", resolve));
  const { pid } = await vm.spawn("python3", ["-c", swap]);
  await up;
  const outcomes = new Map();
  const count = (name) => outcomes.set(name, (outcomes.get(name) ?? 0) + 1);
  const tries = 4000;
  for (let done = 0; done < tries; done += 8) {
    await Promise.all(
      Array.from({ length: 8 }, async (_, n) => {
        try {
          // Deleting by a path removes the link or the directory, never the link's target.
          if (n === 0) await vm.delete("/home/user/work", { recursive: true });
          else if (n === 1) await vm.mkdir("/home/user/work");
          else if (n === 2) await vm.delete("/home/user/link", { recursive: true });
          else if (n === 3) await vm.writeFile("/home/user/work/deep/file", "x");
          else if (n === 4) await vm.readdirRecursive("/home/user");
          else if (n === 5) await vm.writeFile("/home/user/work/new", "x");
          else await vm.readFile("/home/user/work/file");
          count("done");
        } catch (error) {
          count(error.code);
        }
      }),
    );
  }
  await vm.killProcess(pid);
  expect(outcomes.get("done")).toBeGreaterThan(100);
  expect([...outcomes.keys()].filter((code) => !/^(done|E[A-Z0-9]+)$/.test(code))).toEqual([]);
  expect(await output(vm, "cat keep/file")).toBe("kept\n");
}, 120_000);
