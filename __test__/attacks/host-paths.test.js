"use strict";
// A program puts links where the server copies trees to and from: in a directory of the host that its VM shows writable.

const fs = require("node:fs");
const path = require("node:path");

const { AgentVm } = require("../..");
const { temporaryDirectory } = require("../fixture/directory");
const { rejection } = require("../fixture/promises");
const { muslRoot } = require("../fixture/roots");
const { boot, output } = require("../fixture/vm");

const read = (...names) => fs.readFileSync(path.join(...names), "utf8");

let shared;
let outside;
let vm;
beforeEach(async () => {
  [shared, outside] = [temporaryDirectory(), temporaryDirectory()];
  fs.writeFileSync(path.join(outside, "f"), "outside");
  vm = await boot({ mounts: [{ path: "/shared", hostPath: shared, readOnly: false }] });
  await output(vm, "mkdir -p ~/t /shared/real/d && echo inside > ~/t/f");
});

test("no link that a VM can have made leads a copy out of its directory", async () => {
  await output(vm, `ln -s '${outside}' /shared/link && ln -s '${path.dirname(outside)}' /shared/real/above`);
  const [own, byLink] = [temporaryDirectory(), path.join(temporaryDirectory(), "link")];
  fs.symlinkSync(path.join(shared, "link"), byLink);
  const other = await boot();
  const above = path.join(shared, "real/above", path.basename(outside));
  for (const hostPath of [path.join(shared, "link"), above, byLink, path.join(shared, "link", "new")]) {
    for (const call of [
      () => vm.downloadDirectory("/home/user/t", hostPath),
      () => vm.uploadDirectory(hostPath, "/home/user/up"),
      () => other.uploadDirectory(hostPath, "/home/user/up"),
    ]) {
      const error = await rejection(call());
      expect(error).toMatchObject({ code: "ENOTDIR", path: hostPath, message: expect.stringContaining(hostPath) });
    }
  }
  expect(fs.readdirSync(outside)).toEqual(["f"]);
  expect(read(outside, "f")).toBe("outside");
  expect(await other.exists("/home/user/up")).toBe(false);
  // The host's own links are followed as ever.
  fs.symlinkSync(own, path.join(own, "self"));
  await vm.downloadDirectory("/home/user/t", path.join(own, "self"));
  expect(read(own, "f")).toBe("inside\n");
});

test("a copy into or out of a directory that a VM can write to is like any other", async () => {
  const byLink = path.join(temporaryDirectory(), "link");
  fs.symlinkSync(shared, byLink);
  for (const to of ["", "real/d", "new/deep"]) {
    expect(await vm.downloadDirectory("/home/user/t", path.join(shared, to))).toMatchObject({ files: 1 });
    expect(read(shared, to, "f")).toBe("inside\n");
  }
  await vm.downloadDirectory("/home/user/t", path.join(byLink, "by/link"));
  expect(read(shared, "by/link/f")).toBe("inside\n");
  await vm.uploadDirectory(path.join(byLink, "new"), "/home/user/up");
  expect(await output(vm, "cat up/deep/f")).toBe("inside\n");
  const none = path.join(shared, "none");
  expect(await rejection(vm.uploadDirectory(none, "/home/user/x"))).toMatchObject({ code: "ENOENT", path: none });
  fs.mkdirSync(path.join(shared, "taken/f"), { recursive: true });
  const taken = path.join(shared, "taken");
  const error = await rejection(vm.downloadDirectory("/home/user/t", taken));
  expect(error).toMatchObject({ code: "EISDIR", path: `${taken}/f`, message: expect.stringContaining(`'${taken}/f'`) });
  await vm.dispose();
});

test("a program that exchanges a directory for a link all the time leads no copy out", async () => {
  await vm.spawn("sh", [
    "-c",
    `cd /shared; while :; do mv real old; ln -s '${path.dirname(outside)}' real; rm real; mv old real; done`,
  ]);
  fs.mkdirSync(path.join(outside, "d"));
  const hostPath = path.join(shared, "real", path.basename(outside));
  let codes = new Set();
  for (let round = 0; round < 100; round++) {
    codes.add((await vm.downloadDirectory("/home/user/t", hostPath).catch((error) => error)).code);
    codes.add((await vm.uploadDirectory(hostPath, "/home/user/up").catch((error) => error)).code);
  }
  expect(fs.readdirSync(outside)).toEqual(["d", "f"]);
  expect(read(outside, "f")).toBe("outside");
  expect(await output(vm, "cat up/f 2>/dev/null || true")).not.toContain("outside");
  codes = [...codes].filter((code) => code !== undefined);
  expect(["ENOENT", "ENOTDIR"]).toEqual(expect.arrayContaining(codes));
});

test("no link that a VM can have made is followed when another VM, or the next one, shows what is there", async () => {
  await output(
    vm,
    `ln -s '${outside}' /shared/link && ln -s '${outside}/f' /shared/file && ln -s '${outside}' /shared/real/d/up`,
  );
  const byLink = path.join(temporaryDirectory(), "link");
  fs.symlinkSync(path.join(shared, "link"), byLink);
  const inside = (...names) => path.join(shared, ...names);
  const before = fs.readdirSync("/proc/self/fd").length;
  for (const hostPath of [
    inside("link"),
    inside("link/."),
    inside("file"),
    inside("real/d/up"),
    byLink,
    inside("link/f"),
  ]) {
    for (const options of [
      { mounts: [{ path: "/x", hostPath }] },
      { mounts: [{ path: "/x", hostPath, readOnly: false }] },
      { home: hostPath },
      { rootfs: hostPath },
      // The one that it can write to is its own.
      {
        mounts: [
          { path: "/w", hostPath: shared, readOnly: false },
          { path: "/x", hostPath },
        ],
      },
    ]) {
      const error = await rejection(AgentVm.create(options));
      expect(error).toMatchObject({ code: "ENOTDIR", path: hostPath, message: expect.stringContaining(hostPath) });
    }
  }
  expect(fs.readdirSync("/proc/self/fd").length).toBeLessThan(before + 8);
  fs.rmSync(inside("real/d/up"));
});

test("a directory in one that a VM can write to is shown like any other", async () => {
  await output(vm, "mkdir -p /shared/real/d/.git && echo one > /shared/real/f && echo two > /shared/real/d/g");
  const hostPath = path.join(shared, "real/d");
  const other = await boot({
    mounts: [
      { path: "/d", hostPath, readOnly: false, protect: [".git/hooks/", "g"] },
      { path: "/f", hostPath: path.join(shared, "real/f") },
    ],
  });
  const script = "cat /d/g /f && echo new > /d/new; echo x > /d/g; ls /d/.git";
  expect(await output(other, script)).toBe("two\none\nhooks\n");
  expect(read(hostPath, "new")).toBe("new\n");
  await other.dispose();
  expect(fs.readdirSync(path.join(hostPath, ".git"))).toEqual([]);
  const home = await boot({ home: path.join(shared, "real") });
  expect(await output(home, "cat ~/f")).toBe("one\n");
  const none = path.join(shared, "none");
  expect(await rejection(AgentVm.create({ mounts: [{ path: "/x", hostPath: none }] }))).toMatchObject({
    code: "ENOENT",
    path: none,
  });
  expect(await rejection(AgentVm.create({ home: path.join(hostPath, "g") }))).toMatchObject({
    code: "ENOTDIR",
    path: path.join(hostPath, "g"),
  });
});

test("a root in a directory that a VM can write to is what was there, and no link leads to another", async () => {
  const rootfs = path.join(shared, "root");
  muslRoot(rootfs);
  const once = async () => {
    const other = await boot({ rootfs });
    const said = await output(other, "hello; cat /mark 2>/dev/null || true");
    await other.dispose();
    return said;
  };
  // The third may be one that was made ahead.
  for (let round = 0; round < 3; round++) expect(await once()).toBe("hello from musl\n");
  const elsewhere = muslRoot(temporaryDirectory());
  fs.writeFileSync(path.join(elsewhere, "mark"), "another\n");
  await output(vm, `mv /shared/root /shared/old && ln -s '${elsewhere}' /shared/root`);
  const error = await rejection(AgentVm.create({ rootfs }));
  expect(error).toMatchObject({ code: "ENOTDIR", path: rootfs, message: expect.stringContaining(rootfs) });
  await output(vm, "rm /shared/root && mv /shared/old /shared/root");
  expect(await once()).toBe("hello from musl\n");
});
