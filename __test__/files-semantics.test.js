"use strict";
const { randomBytes } = require("node:crypto");
const fs = require("node:fs");
const { withInit } = require("./fixture/processes");
const { boot, output } = require("./fixture/vm");

const text = async (vm, path) => Buffer.from(await vm.readFile(path)).toString();

test("a moved file replaces a file, and never a directory", async () => {
  const vm = await boot();
  await output(vm, "echo new > new; echo old > old; mkdir -p full/x empty directory");
  await vm.move("/home/user/new", "/home/user/old");
  expect(await text(vm, "/home/user/old")).toBe("new\n");
  await expect(vm.move("/home/user/old", "/home/user/full")).rejects.toMatchObject({ code: "EISDIR" });
  await expect(vm.move("/home/user/directory", "/home/user/old")).rejects.toMatchObject({ code: "ENOTDIR" });
  await expect(vm.move("/home/user/directory", "/home/user/full")).rejects.toMatchObject({ code: "ENOTEMPTY" });
  await vm.move("/home/user/directory", "/home/user/empty");
  await expect(vm.move("/home/user/full", "/home/user/full/x/y")).rejects.toMatchObject({
    code: "EINVAL",
    syscall: "rename",
    path: "/home/user/full",
  });
  await expect(vm.move("/home/user/missing", "/tmp/x")).rejects.toMatchObject({ code: "ENOENT" });
  await vm.move("/home/user/old", "/home/user/old");
  expect(await output(vm, "find . | sort | tr '\\n' ' '")).toBe(". ./empty ./full ./full/x ./old ");
});

test("between mounts a move copies, with what a copy can keep, and then deletes", async () => {
  const vm = await boot();
  await output(vm, "mkdir -p t/d; echo x > t/d/f; chmod 751 t/d/f; ln -s d t/l; touch -d @1000000000 t/d/f");
  await vm.move("/home/user/t", "/tmp/t");
  expect(await output(vm, "cat /tmp/t/l/f; stat -c '%a %Y' /tmp/t/d/f; readlink /tmp/t/l; ls -A")).toBe(
    "x\n751 1000000000\nd\n",
  );
  await output(vm, "mkdir -p /tmp/full/x; echo y > f");
  await expect(vm.move("/home/user/f", "/tmp/full")).rejects.toMatchObject({ code: "EISDIR", path: "/home/user/f" });
  await expect(vm.move("/tmp/full", "/home/user/f")).rejects.toMatchObject({ code: "ENOTDIR", path: "/tmp/full" });
  expect(await output(vm, "cat f; ls /tmp/full")).toBe("y\nx\n");
});

test("between mounts too a moved directory replaces an empty directory, and no other", async () => {
  const vm = await boot();
  await output(vm, "mkdir -p directory/x another/y /tmp/empty");
  await vm.move("/home/user/directory", "/tmp/empty");
  await expect(vm.move("/home/user/another", "/tmp/empty")).rejects.toMatchObject({
    code: "EXDEV",
    path: "/home/user/another",
    message: expect.stringContaining("not empty"),
  });
  expect(await output(vm, "ls; ls another /tmp/empty")).toBe("another\n/tmp/empty:\nx\n\nanother:\ny\n");
});

test("exists is false for a path that cannot be reached, and rejects for other errors", async () => {
  const vm = await boot();
  await output(vm, "echo > file; mkdir -m 0 closed; ln -s nowhere dangling; ln -s loop loop");
  const paths = ["file/below", "closed/below", "dangling", "loop", "missing", "missing/below"];
  expect(await Promise.all(paths.map((path) => vm.exists(`/home/user/${path}`)))).toEqual(paths.map(() => false));
  expect(await Promise.all(["/", "/home/user/file", "/home/user/closed"].map((path) => vm.exists(path)))).toEqual([
    true,
    true,
    true,
  ]);
  const failed = (code, syscall) => ({ code, syscall, errno: expect.any(Number), path: expect.any(String) });
  await expect(vm.readFile("/home/user/file/x")).rejects.toMatchObject(failed("ENOTDIR", "open"));
  await expect(vm.readdir("/home/user/file")).rejects.toMatchObject(failed("ENOTDIR", "open"));
  await expect(vm.readdir("/home/user/closed")).rejects.toMatchObject(failed("EACCES", "open"));
  await expect(vm.stat("/home/user/missing")).rejects.toMatchObject(failed("ENOENT", "stat"));
  await expect(vm.writeFile("/home/user/file/x/y", "x")).rejects.toMatchObject(failed("ENOTDIR", "open"));
  await expect(vm.mkdir("/home/user/file", { recursive: true })).rejects.toMatchObject(failed("EEXIST", "mkdir"));
  await expect(vm.delete("/home/user/missing")).rejects.toMatchObject(failed("ENOENT", "lstat"));
  await expect(vm.delete("/usr/bin/env")).rejects.toMatchObject(failed("EROFS", "unlink"));
  await expect(vm.delete("/")).rejects.toMatchObject({ code: "EBUSY" });
});

test("files are made for all to read and their owner to write, and keep their bits when written again", async () => {
  const vm = await boot();
  await vm.writeFile("/home/user/new/file", "one");
  await vm.mkdir("/home/user/directory");
  await output(vm, "echo > mine; chmod 700 mine");
  await vm.writeFile("/home/user/mine", "other");
  expect(await output(vm, "stat -c '%a %U' new new/file directory mine")).toBe(
    "755 user\n644 user\n755 user\n700 user\n",
  );
});

test("names that are no UTF-8 show with U+FFFD, and go with the directory that they are in", async () => {
  const vm = await boot();
  const odd = "/home/user/odd";
  await output(
    vm,
    "mkdir -p odd/$(printf 'caf\\351')/in; cd odd; echo x > $(printf 'caf\\351/in/\\377'); echo > caf\u00e9",
  );
  expect(await vm.readdir(odd)).toEqual(["caf\u00e9", "caf\ufffd"]);
  expect((await vm.readdirRecursive(odd)).map(({ path, type }) => `${type} ${path}`)).toEqual([
    `file ${odd}/caf\u00e9`,
    `directory ${odd}/caf\ufffd`,
    `directory ${odd}/caf\ufffd/in`,
    `file ${odd}/caf\ufffd/in/\ufffd`,
  ]);
  // The shown name differs from the real one, and no file has it.
  await expect(vm.stat(`${odd}/caf\ufffd`)).rejects.toMatchObject({ code: "ENOENT" });
  await vm.delete(odd, { recursive: true });
  expect(await vm.exists(odd)).toBe(false);
});

test("directories deeper than any path are listed and deleted", async () => {
  const vm = await boot();
  const script = `
import os
os.mkdir("deep")
os.chdir("deep")
for _ in range(1200):
    os.mkdir("abcdefghij")
    os.chdir("abcdefghij")
open("end", "w").close()`;
  expect((await vm.execFile("python3", ["-c", script])).exitCode).toBe(0);
  const found = await vm.readdirRecursive("/home/user/deep");
  expect(found).toHaveLength(1201);
  expect(found[1200]).toMatchObject({ type: "file", path: expect.stringMatching(/abcdefghij\/end$/) });
  await vm.delete("/home/user/deep", { recursive: true });
  expect(await vm.readdir("/home/user")).toEqual([]);
});

test("when the disk is full, a write says so and the file holds what had room", async () => {
  const vm = await boot({ limits: { diskBytes: 4 * 1024 * 1024 } });
  await expect(vm.writeFile("/home/user/big", Buffer.alloc(8 * 1024 * 1024, "x"))).rejects.toMatchObject({
    code: "ENOSPC",
    syscall: "write",
    path: "/home/user/big",
  });
  const { size } = await vm.stat("/home/user/big");
  expect(size).toBeLessThanOrEqual(4 * 1024 * 1024);
  await vm.delete("/home/user/big");
  await vm.writeFile("/home/user/small", "fits again");
  expect(await text(vm, "/home/user/small")).toBe("fits again");
});

test("64 MB go in and out without passing through init", async () => {
  const { vm, init } = await withInit(boot);
  const content = randomBytes(64_000_000);
  await vm.writeFile("/home/user/large", content);
  expect(Buffer.compare(await vm.readFile("/home/user/large"), content)).toBe(0);
  const [, peak] = /^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${init.pid}/status`, "utf8"));
  expect(Number(peak)).toBeLessThan(16_000);
});

test("a batch of a thousand files keeps its order and reports each file by itself", async () => {
  const vm = await boot();
  const entries = Array.from({ length: 1000 }, (_, n) => ({
    path: n % 100 === 7 ? `/usr/${n}` : `/home/user/batch/${n % 10}/${n}`,
    content: `content ${n}`,
  }));
  const written = await vm.writeFiles(entries);
  expect(written.map(({ path }) => path)).toEqual(entries.map(({ path }) => path));
  expect(written.filter(({ success }) => !success)).toHaveLength(10);
  const read = await vm.readFiles(entries.map(({ path }) => path));
  expect(read.map(({ content, error }) => content?.toString() ?? error.slice(0, 6))).toEqual(
    entries.map(({ content }, n) => (n % 100 === 7 ? "ENOENT" : content)),
  );
  expect(await vm.readFiles([])).toEqual([]);
  await expect(vm.readFiles(["/home/user/x", "y"])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await expect(vm.writeFiles([{ path: "/home/user/x" }])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});
