"use strict";

const { randomBytes } = require("node:crypto");

const { boot } = require("./fixture/vm");

let vm;

beforeEach(async () => {
  vm = await boot();
});

test("written bytes are read back unchanged, and commands see the same files", async () => {
  const content = randomBytes(8 * 1024 * 1024);
  await vm.writeFile("/home/user/deep/er/data.bin", content);
  expect(Buffer.compare(await vm.readFile("/home/user/deep/er/data.bin"), content)).toBe(0);
  await vm.writeFile("/home/user/note.txt", "grüße\n");
  expect((await vm.exec("cat note.txt; stat -c %u:%a note.txt; wc -c < deep/er/data.bin")).stdout).toBe(
    "grüße\n1000:644\n8388608\n",
  );
});

test("a symbolic link made inside never leads to the host's files", async () => {
  await vm.exec("ln -s /etc/shadow shadow; ln -s /proc/1/root out; ln -s /proc/self/fd/1 control");
  await expect(vm.readFile("/home/user/shadow")).rejects.toMatchObject({ code: "ENOENT", syscall: "open" });
  await expect(vm.readFile("/home/user/out/etc/shadow")).rejects.toMatchObject({ path: "/home/user/out/etc/shadow" });
  await expect(vm.readFile("/home/user/control")).rejects.toMatchObject({ code: "ELOOP" });
  await expect(vm.writeFile("/usr/bin/new", "x")).rejects.toMatchObject({ code: "EROFS" });
});

test("reading a device, a FIFO or a directory is refused at once", async () => {
  await vm.exec("mkfifo pipe");
  await expect(vm.readFile("/dev/zero")).rejects.toMatchObject({ code: "EINVAL", syscall: "read" });
  await expect(vm.readFile("/home/user/pipe")).rejects.toMatchObject({ code: "EINVAL" });
  await expect(vm.writeFile("/home/user/pipe", "x")).rejects.toMatchObject({ code: "ENXIO" });
  await expect(vm.readFile("/home/user")).rejects.toMatchObject({ code: "EISDIR" });
});

test("directories are made, listed, walked, moved and removed", async () => {
  await vm.mkdir("/home/user/tree/a/b", { recursive: true });
  await vm.writeFile("/home/user/tree/a/b/file", "12345");
  await vm.exec("ln -s nowhere tree/link; mkdir tree/node_modules; touch tree/node_modules/x");
  expect(await vm.readdir("/home/user/tree")).toEqual(["a", "link", "node_modules"]);
  const walked = await vm.readdirRecursive("/home/user/tree", { exclude: ["node_modules"] });
  expect(walked.map(({ path, type }) => `${type} ${path}`)).toEqual([
    "directory /home/user/tree/a",
    "symlink /home/user/tree/link",
    "directory /home/user/tree/a/b",
    "file /home/user/tree/a/b/file",
  ]);
  expect(walked[3].size).toBe(5);
  expect(await vm.readdirRecursive("/home/user/tree", { maxDepth: 0 })).toHaveLength(3);
  await expect(vm.mkdir("/home/user/tree")).rejects.toMatchObject({ code: "EEXIST", syscall: "mkdir" });
  await expect(vm.delete("/home/user/tree")).rejects.toMatchObject({ code: "ENOTEMPTY", syscall: "rmdir" });
  await vm.move("/home/user/tree", "/tmp/tree");
  expect(await vm.exists("/home/user/tree")).toBe(false);
  expect((await vm.stat("/tmp/tree")).isDirectory).toBe(true);
  await vm.delete("/tmp/tree", { recursive: true });
  expect(await vm.exists("/tmp/tree")).toBe(false);
});

test("a batch reports each file by itself", async () => {
  const written = await vm.writeFiles([
    { path: "/home/user/one", content: "1" },
    { path: "/etc/two", content: "2" },
  ]);
  expect(written).toEqual([
    { path: "/home/user/one", success: true },
    { path: "/etc/two", success: false, error: expect.stringContaining("EROFS"), code: "EROFS" },
  ]);
  const read = await vm.readFiles(["/home/user/one", "/missing"]);
  expect(read[0].content.toString()).toBe("1");
  expect(read[1]).toMatchObject({ content: null, error: expect.stringContaining("ENOENT") });
});

test("a path is absolute and without NUL, and a long one is an error", async () => {
  await expect(vm.readFile("relative")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await expect(vm.readFile("/a\0b")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await expect(vm.readFile(`/${"x".repeat(5000)}`)).rejects.toMatchObject({ code: "ENAMETOOLONG" });
});

test("a connection reaches a server in the VM, and a port without a listener refuses it", async () => {
  const server = 'require("net").createServer((s) => s.end("hello\\n")).listen(3000, () => console.log("up"))';
  const up = new Promise((resolve) => vm.once("processOutput", resolve));
  const { pid } = await vm.spawn("node", ["-e", server]);
  await up;
  const socket = await vm.connect(3000);
  let text = "";
  for await (const chunk of socket) text += chunk;
  expect(text).toBe("hello\n");
  await expect(vm.connect(3001)).rejects.toMatchObject({ code: "ECONNREFUSED", syscall: "connect" });
  await vm.killProcess(pid);
});
