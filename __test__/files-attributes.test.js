"use strict";
// Modes, times and links by file calls: what a program of the VM may do, a call may do, and no more.

const fs = require("node:fs");
const path = require("node:path");

const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

const homeOf = (vm) => output(vm, 'printf %s "$HOME"');

/** A directory of the host, and a VM whose home it is. */
async function withHome() {
  const home = temporaryDirectory();
  return { home, vm: await boot({ home }) };
}

test("set-id bits can be set on the VM's own files, and not on directories of the host", async () => {
  const own = await boot();
  await own.writeFile("/home/user/f", "x", { mode: 0o6755 });
  await own.mkdir("/home/user/d");
  await own.chmod("/home/user/d", 0o7777);
  expect(await output(own, "stat -c %a f d")).toBe("6755\n7777\n");

  const { home, vm } = await withHome();
  await vm.writeFile("/home/user/f", "x");
  await vm.mkdir("/home/user/d");
  for (const mode of [0o4755, 0o2755, 0o6755]) {
    await expect(vm.chmod("/home/user/f", mode)).rejects.toMatchObject({ code: "EPERM", path: "/home/user/f" });
    await expect(vm.writeFile("/home/user/f", "x", { mode })).rejects.toMatchObject({
      code: "EPERM",
      path: "/home/user/f",
    });
    await expect(vm.writeFile(`/home/user/new${mode}`, "x", { mode })).rejects.toMatchObject({ code: "EPERM" });
  }
  // As for a program: a directory may give its group to what is made in it.
  await expect(vm.chmod("/home/user/d", 0o4755)).rejects.toMatchObject({ code: "EPERM" });
  await vm.chmod("/home/user/d", 0o2775);
  await vm.chmod("/tmp", 0o700).catch(() => {});
  const modes = fs.readdirSync(home).map((name) => fs.statSync(path.join(home, name)).mode & 0o7777);
  expect(modes.filter((mode) => mode & 0o4000)).toEqual([]);
  expect(fs.statSync(path.join(home, "d")).mode & 0o7777).toBe(0o2775);
  for (const name of fs.readdirSync(home).filter((each) => each !== "d")) {
    expect(fs.statSync(path.join(home, name)).mode & 0o6000).toBe(0);
  }
});

test("at the level landlock, modes and times change below the VM's directory alone", async () => {
  const vm = await boot({ isolation: "landlock" });
  const home = await homeOf(vm);
  const outside = temporaryDirectory();
  fs.chmodSync(outside, 0o755);
  fs.writeFileSync(path.join(outside, "f"), "x");
  const { mode, mtimeMs } = fs.statSync(path.join(outside, "f"));
  await output(vm, `ln -s ${outside}/f out; ln -s ${outside} dir; ln -s /proc/self/cwd cwd; echo > in`);
  for (const file of [`${outside}/f`, `${home}/out`, `${home}/dir/f`, `${home}/cwd/f`, "/usr/bin/env", "/etc/passwd"]) {
    for (const call of [
      vm.chmod(file, 0o777),
      vm.utimes(file, 0, 0),
      vm.truncate(file, 0),
      vm.appendFile(file, "x"),
      vm.writeFile(file, "x", { mode: 0o777, mtime: 0 }),
    ]) {
      const { code } = await rejection(call);
      expect({ file, code }).toEqual({
        file,
        code: expect.stringMatching(/^(EPERM|EACCES|EROFS|ELOOP|ENOENT|ENOTDIR)$/),
      });
    }
  }
  await vm.chmod(`${home}/in`, 0o600);
  await vm.utimes(`${home}/in`, 1, 2);
  expect(await output(vm, "stat -c '%a %X %Y' in")).toBe("600 1 2\n");
  await expect(vm.chmod(`${home}/in`, 0o4755)).rejects.toMatchObject({ code: "EPERM" });
  expect(fs.statSync(path.join(outside, "f"))).toMatchObject({ mode, mtimeMs, size: 1 });
});

test("files of the kernel, of init and of others are not changed", async () => {
  const vm = await boot();
  await output(
    vm,
    "ln -s /proc/self/fd/1 fd; ln -s /proc/1/root root; ln -s /dev/null null; ln -s /proc/self/comm comm",
  );
  await vm.spawn("sleep", ["100"]);
  const files = [
    ...["/proc/self/comm", "/proc/1/comm", "/proc/self/fd/1", "/proc/1/root/etc", "/proc/sys/kernel/hostname"],
    ...["/sys", "/dev/null", "/dev/pts/0", "/dev/ptmx", "/usr/bin/env", "/etc/passwd", "/", "/proc"],
    ...["fd", "root/etc", "null", "comm"].map((name) => `/home/user/${name}`),
  ];
  for (const file of files) {
    for (const [name, call] of Object.entries({
      chmod: vm.chmod(file, 0o777),
      utimes: vm.utimes(file, 0, 0),
      truncate: vm.truncate(file, 0),
      append: vm.appendFile(file, "x"),
    })) {
      const { code } = await rejection(call);
      expect({ file, name, code }).toEqual({
        file,
        name,
        code: expect.stringMatching(/^(EPERM|EACCES|EROFS|ELOOP|ENOENT|EISDIR|EINVAL|ENXIO)$/),
      });
    }
  }
  // What a link in /proc leads to is not followed, also not to find out where it leads.
  for (const file of ["/proc/self/cwd", "/proc/self/root", "/proc/self/fd/0", "/home/user/fd", "/dev/stdin"]) {
    expect((await rejection(vm.realpath(file))).code).toMatch(/^(ELOOP|EACCES)$/);
  }
  // Init's own are not shown.
  for (const file of ["/proc/self", "/proc/1/exe", "/proc/1/cwd"]) {
    const read = await vm.readlink(file).catch(({ code }) => code);
    expect(read).not.toContain("/proc/1");
    expect(read).toMatch(/^(EACCES|[0-9]+)$/);
  }
  expect(await output(vm, "cat /proc/1/comm")).toBe("agent-vm-init\n");
});

test("a FIFO, a device or a socket holds no call up and is not written", async () => {
  const vm = await boot();
  await output(vm, "mkfifo fifo; ln -s fifo link; python3 -c 'import socket; socket.socket(1).bind(\"sock\")'");
  for (const file of ["fifo", "link", "sock"]) {
    expect((await rejection(vm.truncate(`/home/user/${file}`))).code).toMatch(/^(ENXIO|EINVAL)$/);
    expect((await rejection(vm.appendFile(`/home/user/${file}`, "x"))).code).toMatch(/^(ENXIO|EINVAL)$/);
    // Their attributes are those of any file.
    await vm.chmod(`/home/user/${file}`, 0o600);
    await vm.utimes(`/home/user/${file}`, 1, 2);
  }
  expect(await output(vm, "stat -c '%a %Y' fifo sock")).toBe("600 2\n600 2\n");
  const types = Object.fromEntries((await vm.readdirEntries("/dev")).map(({ name, type }) => [name, type]));
  expect(types).toMatchObject({ pts: "directory", fd: "symlink" });
  const terminals = await vm.readdirEntries("/dev/pts");
  expect(terminals.filter(({ name }) => name === "ptmx")).toEqual([
    { name: "ptmx", path: "/dev/pts/ptmx", type: "characterDevice" },
  ]);
  expect(await vm.readdirEntries("/home/user/")).toEqual([
    { name: "fifo", path: "/home/user/fifo", type: "fifo" },
    { name: "link", path: "/home/user/link", type: "symlink" },
    { name: "sock", path: "/home/user/sock", type: "socket" },
  ]);
});

test("mode and mtime of written files are exact, for new files and others", async () => {
  const vm = await boot();
  const date = new Date(1_600_000_000_123);
  const entries = [
    { path: "/home/user/a/new", content: "1", mode: 0o666, mtime: date },
    { path: "/home/user/a/read-only", content: "2", mode: "444", mtime: 1.25 },
    { path: "/home/user/a/plain", content: "3" },
    { path: "/home/user/none\0", content: "3" },
  ];
  await expect(vm.writeFiles(entries)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await vm.writeFiles(entries.slice(0, 3))).toEqual(
    entries.slice(0, 3).map((entry) => ({ path: entry.path, success: true })),
  );
  expect(await output(vm, "cd a; stat -c %a new read-only plain; cat new read-only plain")).toBe("666\n444\n644\n123");
  expect((await vm.stat("/home/user/a/new")).mtimeMs).toBe(date.getTime());
  expect((await vm.stat("/home/user/a/read-only")).mtimeMs).toBe(1250);
  // An existing file too, and a time that stat gave.
  await vm.writeFile("/home/user/a/plain", "4", { mode: 0o600, mtime: date.getTime() / 1000 });
  const { mode, mtimeMs } = await vm.stat("/home/user/a/plain");
  expect([mode & 0o7777, mtimeMs]).toEqual([0o600, date.getTime()]);
  await vm.utimes("/home/user/a/new", 5, mtimeMs / 1000);
  expect(await vm.stat("/home/user/a/new")).toMatchObject({ atimeMs: 5000, mtimeMs });
});

test("a mode that stat returns can be given", async () => {
  const vm = await boot();
  await output(vm, "echo > f; chmod 4751 f; mkdir d; chmod 1711 d; echo > g");
  await vm.chmod("/home/user/g", (await vm.stat("/home/user/f")).mode);
  await vm.writeFile("/home/user/h", "", { mode: (await vm.stat("/home/user/d")).mode });
  await vm.writeFiles([{ path: "/home/user/i", content: "", mode: fs.statSync("/etc/passwd").mode }]);
  await vm.appendFile("/home/user/j", "", { mode: 0o100600 });
  expect(await output(vm, "stat -c %a g h i j")).toBe("4751\n1711\n644\n600\n");
  await vm.chmod("/home/user/g", "100640");
  expect(await output(vm, "stat -c %a g")).toBe("640\n");
  for (const mode of [0o200000, -1, 0.5, Number.NaN, "1000640"]) {
    await expect(vm.chmod("/home/user/g", mode)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  }
  // Only chmod sets such bits.
  await expect(vm.appendFile("/home/user/k", "", { mode: 0o104755 })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
});

test("results of a batch have the code of each error", async () => {
  const vm = await boot();
  expect(await vm.writeFiles([{ path: "/usr/x", content: "" }])).toEqual([
    { path: "/usr/x", success: false, error: expect.stringContaining("EROFS"), code: "EROFS" },
  ]);
  const read = await vm.readFiles(["/none", "/home/user", "/etc/hostname"], "utf8");
  expect(read.map(({ code, content }) => code ?? content)).toEqual(["ENOENT", "EISDIR", "agent-vm\n"]);
});

test("parts of files beyond every bound are read", async () => {
  const vm = await boot();
  await output(
    vm,
    `truncate -s 1T sparse; printf end >> sparse; printf x | dd of=sparse bs=1 seek=7G conv=notrunc 2>&1`,
  );
  expect(await vm.readFile("/home/user/sparse", { encoding: "utf8", offset: 2 ** 40 })).toBe("end");
  const { buffer } = { buffer: await vm.readFile("/home/user/sparse", { offset: 7 * 2 ** 30 - 1, length: 3 }) };
  expect([...buffer]).toEqual([0, 120, 0]);
  await expect(vm.readFile("/home/user/sparse", { offset: 5 })).rejects.toMatchObject({ code: "EFBIG" });
  await expect(vm.readFile("/home/user/sparse", { length: 100, maxBytes: 99 })).rejects.toMatchObject({
    code: "EFBIG",
  });
  expect(await vm.readFile("/home/user/sparse", { length: 99, maxBytes: 99 })).toHaveLength(99);
  expect(await vm.readFile("/proc/version", { encoding: "utf8", length: 5 })).toBe("Linux");
  expect(await vm.readFile("/proc/version", { encoding: "utf8", offset: 6, length: 7 })).toBe("version");
  await vm.truncate("/home/user/sparse", 2 ** 41);
  expect((await vm.stat("/home/user/sparse")).size).toBe(2 ** 41);
});

test("a file that is longer than a string can be is LIMIT_EXCEEDED as text", async () => {
  const vm = await boot();
  await output(vm, "truncate -s 300M sparse");
  await expect(vm.readFile("/home/user/sparse", "hex")).rejects.toMatchObject({
    code: "LIMIT_EXCEEDED",
    path: "/home/user/sparse",
  });
}, 60_000);
