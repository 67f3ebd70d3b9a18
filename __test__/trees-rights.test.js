"use strict";
// Copies of trees have the rights and the view of the VM's user, on every mount.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

/** Writes files, with their directories. */
function tree(files) {
  const directory = temporaryDirectory();
  for (const [name, content] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(directory, name)), { recursive: true });
    fs.writeFileSync(path.join(directory, name), content);
  }
  return directory;
}

/** An archive of a directory. */
const tar = (directory) => {
  const archive = path.join(temporaryDirectory(), "archive.tar");
  execFileSync("tar", ["-C", directory, "-cf", archive, "."]);
  return fs.createReadStream(archive);
};

const read = (...names) => fs.readFileSync(path.join(...names), "utf8");

test("a copy goes through mounts, with the rights that each of them has", async () => {
  const [readOnly, writable, file] = [
    tree({ a: "ro" }),
    tree({ ".git/hooks/old": "old", b: "rw" }),
    tree({ f: "one" }),
  ];
  const vm = await boot({
    mounts: [
      { path: "/home/user/t/ro", hostPath: readOnly },
      { path: "/home/user/t/rw", hostPath: writable, readOnly: false, protect: [".git/hooks/"] },
      { path: "/home/user/t/file", hostPath: path.join(file, "f"), readOnly: false },
    ],
  });
  await output(vm, "mkdir t/own && echo own > t/own/c && ln -s ../ro/a t/own/link");
  const to = temporaryDirectory();
  expect(await vm.downloadDirectory("/home/user/t", to)).toMatchObject({ files: 5, links: 1, skipped: 0 });
  expect([read(to, "ro/a"), read(to, "rw/.git/hooks/old"), read(to, "rw/b")]).toEqual(["ro", "old", "rw"]);
  expect([read(to, "file"), read(to, "own/c"), fs.readlinkSync(path.join(to, "own/link"))]).toEqual([
    "one",
    "own\n",
    "../ro/a",
  ]);

  const refused = (files) => rejection(vm.uploadDirectory(tree(files), "/home/user/t"));
  expect(await refused({ "ro/new": "x" })).toMatchObject({ code: "EROFS", path: "/home/user/t/ro/new" });
  expect(await refused({ "ro/a": "x" })).toMatchObject({ code: "EROFS" });
  expect(await refused({ "rw/.git/hooks/new": "x" })).toMatchObject({ code: "EROFS" });
  expect(await refused({ "rw/.git/hooks/old": "x" })).toMatchObject({ code: "EROFS" });
  // What is mounted is not replaced.
  expect(await refused({ file: "x" })).toMatchObject({ code: "EBUSY", path: "/home/user/t/file" });
  expect(fs.readdirSync(readOnly)).toEqual(["a"]);
  expect(fs.readdirSync(path.join(writable, ".git/hooks"))).toEqual(["old"]);
  expect([read(readOnly, "a"), read(writable, ".git/hooks/old"), read(file, "f")]).toEqual(["ro", "old", "one"]);

  await vm.uploadDirectory(tree({ "rw/b": "new", "rw/.git/config": "x", "own/d/e": "y" }), "/home/user/t");
  expect([read(writable, "b"), read(writable, ".git/config")]).toEqual(["new", "x"]);
  const { uid, gid } = fs.statSync(writable);
  expect(fs.statSync(path.join(writable, ".git/config"))).toMatchObject({ uid, gid });
  expect(await output(vm, "cat t/own/d/e; find t ! -user user")).toBe("y");
});

test.each(["a file", "a link"])("%s does not replace a protected file, or one that is mounted", async (kind) => {
  const [work, single] = [tree({ config: "mine", "sub/config": "mine" }), tree({ f: "mine" })];
  const vm = await boot({
    mounts: [
      { path: "/work", hostPath: work, readOnly: false, protect: ["config", "sub/config", "missing"] },
      { path: "/home/user/single", hostPath: path.join(single, "f"), readOnly: false },
    ],
  });
  for (const [to, name] of [
    ["/work", "config"],
    ["/work", "sub/config"],
    ["/work", "missing"],
    ["/home/user", "single"],
  ]) {
    const from = tree({ [name]: "theirs" });
    if (kind === "a link") {
      fs.rmSync(path.join(from, name));
      fs.symlinkSync("/etc/passwd", path.join(from, name));
    }
    const refused = { code: expect.stringMatching(/^(EBUSY|EROFS)$/) };
    expect(await rejection(vm.uploadDirectory(from, to))).toMatchObject(refused);
    expect(await rejection(vm.writeArchive(to, tar(from)))).toMatchObject(refused);
  }
  await vm.dispose();
  expect(fs.readdirSync(work)).toEqual(["config", "sub"]);
  expect([read(work, "config"), read(work, "sub/config"), read(single, "f")]).toEqual(["mine", "mine", "mine"]);
});

test("what the VM's user may not do, a copy may not do either", async () => {
  const vm = await boot();
  await output(vm, "mkdir -p t/closed t/sealed && echo x > t/closed/f && echo x > t/secret && chmod 0 t/secret");
  await output(vm, "chmod 0 t/closed && chmod 500 t/sealed");
  const to = temporaryDirectory();
  const fails = async (copy, name) =>
    expect(await rejection(copy)).toMatchObject({ code: "EACCES", path: `/home/user/t/${name}` });
  await fails(vm.downloadDirectory("/home/user/t", to, { exclude: ["closed"] }), "secret");
  await fails(vm.downloadDirectory("/home/user/t", to, { exclude: ["secret"] }), "closed");
  await fails(vm.uploadDirectory(tree({ "sealed/f": "x" }), "/home/user/t"), "sealed/f");
  await fails(vm.uploadDirectory(tree({ "sealed/d/f": "x" }), "/home/user/t"), "sealed/d");
  await fails(vm.uploadDirectory(tree({ "closed/f": "x" }), "/home/user/t"), "closed");
  for (const { code } of [
    await rejection(vm.uploadDirectory(tree({ f: "x" }), "/")),
    await rejection(vm.uploadDirectory(tree({ f: "x" }), "/usr")),
    await rejection(vm.uploadDirectory(tree({ f: "x" }), "/proc/self")),
  ]) {
    expect(["EACCES", "EROFS", "ENOENT", "EPERM"]).toContain(code);
  }
  expect(await output(vm, "ls t t/sealed")).toBe("t:\nclosed\nsealed\nsecret\n\nt/sealed:\n");
});

test("what is complete stays where it is when the room is used up", async () => {
  const vm = await boot({ limits: { diskBytes: 4 * 1024 * 1024 } });
  const files = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`d${at % 10}/f${at}`, "x".repeat(50_000)]));
  const from = tree(files);
  const error = await rejection(vm.uploadDirectory(from, "/home/user/t"));
  expect(error).toMatchObject({ code: "ENOSPC", path: expect.stringMatching(/^\/home\/user\/t\/d\d/) });
  await output(vm, "rm -r t/d0 t/d1 && echo on > f");
  const count = await output(vm, "find t -size 50000c | wc -l");
  expect(Number(count)).toBeGreaterThan(10);
});
