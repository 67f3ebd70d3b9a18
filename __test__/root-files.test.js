"use strict";
// Calls about files act as the VM's default user: with `user: "root"` as root inside, who has no right outside of the VM.

const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { muslRoot } = require("./fixture/roots");
const { hasRange } = require("./fixture/subordinate");
const { boot, output } = require("./fixture/vm");

// With a range, an ordinary user's server acts as `user` alone.
const isRoot = process.getuid() === 0;
const KINDS = isRoot ? ["single", "range"] : ["single"];

describe.each(KINDS)("with ids: %s", (ids) => {
  test("what calls make belongs to root, and attributes are those that root sees", async () => {
    const vm = await boot({ user: "root", ids });
    await vm.writeFile("/root/file", "content");
    await vm.mkdir("/root/a/b", { recursive: true });
    await vm.writeFile("/root/a/b/c", "deep");
    expect(await vm.stat("/root/file")).toMatchObject({ uid: 0, gid: 0 });
    expect(await output(vm, "stat -c '%u %g' /root/file /root/a /root/a/b/c")).toBe("0 0\n0 0\n0 0\n");
    await output(vm, "chmod 700 /root; echo inside > /root/by-program");
    expect(Buffer.from(await vm.readFile("/root/by-program")).toString()).toBe("inside\n");
    expect((await vm.readdir("/root")).sort()).toEqual(expect.arrayContaining(["a", "by-program", "file"]));
    await vm.delete("/root/a", { recursive: true });
    expect(await output(vm, "ls /root/a 2>&1 || true")).toMatch(/No such file/);
  });

  test("trees go in and out as root", async () => {
    const vm = await boot({ user: "root", ids });
    const host = temporaryDirectory();
    fs.mkdirSync(path.join(host, "in/deep"), { recursive: true });
    for (let number = 0; number < 20; number++) fs.writeFileSync(path.join(host, `in/deep/${number}`), `${number}`);
    await vm.uploadDirectory(path.join(host, "in"), "/root/tree");
    expect(await output(vm, "stat -c %u /root/tree/deep /root/tree/deep/7; cat /root/tree/deep/7")).toBe("0\n0\n7");
    await output(vm, "chmod 700 /root /root/tree/deep; chmod 600 /root/tree/deep/*");
    await vm.downloadDirectory("/root/tree", path.join(host, "out"));
    expect(fs.readFileSync(path.join(host, "out/deep/19"), "utf8")).toBe("19");
    expect(fs.statSync(path.join(host, "out/deep/19")).uid).toBe(process.getuid());
  });

  test("calls as root reach neither the kernel's files nor what init has open", async () => {
    const vm = await boot({ user: "root", ids });
    for (const file of ["/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/proc/sys/user/max_user_namespaces"]) {
      expect(await rejection(vm.writeFile(file, "1"))).toMatchObject({
        code: expect.stringMatching(/^E(ACCES|PERM|NOENT|ROFS)$/),
      });
    }
    for (const file of ["/proc/1/root/etc/passwd", "/proc/1/fd/0", "/proc/self/fd/0", "/proc/1/cwd/etc/passwd"]) {
      expect(await rejection(vm.readFile(file))).toMatchObject({
        code: expect.stringMatching(/^E(ACCES|PERM|LOOP|NOENT)$/),
      });
    }
    for (const file of ["/usr/made", "/bin/sh"]) expect((await rejection(vm.writeFile(file, "x"))).code).toMatch(/^E/);
  });
});

if (hasRange() && !isRoot) {
  test("with a range, calls of an ordinary user's server act as user", async () => {
    const vm = await boot({ user: "root", ids: "range" });
    await vm.uploadDirectory(treeOf({ name: "x" }), "/home/user/tree");
    await vm.writeFile("/home/user/file", "x");
    expect(await output(vm, "stat -c %u /home/user/file /home/user/tree/name")).toBe("1000\n1000\n");
    expect(await rejection(vm.writeFile("/root/file", "x"))).toMatchObject({ code: "EACCES" });
  });
}

if (isRoot) {
  test("root's calls read and change files of every user, and those of `user` do not", async () => {
    const rootfs = muslRoot(temporaryDirectory());
    const vm = await boot({ user: "root", ids: "range", rootfs });
    await output(vm, "mkdir -m 700 /of-33; echo secret > /of-33/file; chmod 600 /of-33/file; chown -R 33:33 /of-33");
    expect(Buffer.from(await vm.readFile("/of-33/file")).toString()).toBe("secret\n");
    await vm.writeFile("/of-33/file", "changed");
    await vm.writeFile("/of-33/new", "x");
    expect(await vm.readdir("/of-33")).toEqual(["file", "new"]);
    expect(await output(vm, "cat /of-33/file; stat -c %u /of-33/file /of-33/new")).toBe("changed33\n0\n");
    await vm.delete("/of-33", { recursive: true });
    const other = await boot({ ids: "range", rootfs });
    await output(other, "echo x > /closed; chmod 600 /closed; mkdir -m 700 /dir", { user: "root" });
    expect(await rejection(other.readFile("/closed"))).toMatchObject({ code: "EACCES" });
    expect(await rejection(other.readdir("/dir"))).toMatchObject({ code: "EACCES" });
    await other.writeFile("/home/user/mine", "x");
    expect(await output(other, "stat -c '%u %g' /home/user/mine")).toBe("1000 1000\n");
  });

  test("the default user of calls can be anybody", async () => {
    const vm = await boot({ user: "33:44", ids: "range" });
    await vm.writeFile("/tmp/file", "x");
    await vm.uploadDirectory(treeOf({ name: "x" }), "/tmp/tree");
    expect(await output(vm, "stat -c '%u %g' /tmp/file /tmp/tree /tmp/tree/name", { cwd: "/" })).toBe(
      "33 44\n33 44\n33 44\n",
    );
    expect(await rejection(vm.writeFile("/home/user/file", "x"))).toMatchObject({ code: "EACCES" });
  });
}

/** A directory on the host with these files. */
function treeOf(files) {
  const directory = temporaryDirectory();
  for (const [name, content] of Object.entries(files)) fs.writeFileSync(path.join(directory, name), content);
  return directory;
}
