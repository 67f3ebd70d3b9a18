"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

function filled(name, content = name) {
  const where = temporaryDirectory();
  fs.writeFileSync(path.join(where, name), content);
  return where;
}

test("a directory of the host shows inside, read-only unless asked otherwise", async () => {
  const [one, other] = [filled("one"), filled("other")];
  const mounts = [
    { path: "/data/one", hostPath: one },
    { path: "/data/other", hostPath: other, readOnly: false },
  ];
  const vm = await boot({ mounts });
  expect(await output(vm, "cat /data/one/one /data/other/other")).toBe("oneother");
  expect((await vm.exec("echo x > /data/one/new")).stderr).toContain("Read-only file system");
  await expect(vm.writeFile("/data/one/one", "x")).rejects.toMatchObject({ code: "EROFS", path: "/data/one/one" });
  await vm.writeFile("/data/other/deep/new", "x");
  expect(fs.readFileSync(path.join(other, "deep/new"), "utf8")).toBe("x");
  expect(fs.statSync(path.join(other, "deep"))).toMatchObject({ uid: process.getuid(), gid: process.getgid() });
  expect(fs.readdirSync(one)).toEqual(["one"]);
});

test("what its owner alone may read, the user may read, and nobody may write where it is read-only", async () => {
  const hostPath = filled("secret");
  fs.chmodSync(path.join(hostPath, "secret"), 0o600);
  fs.chmodSync(hostPath, 0o700);
  const vm = await boot({ mounts: [{ path: "/data", hostPath }] });
  expect(await output(vm, "cat /data/secret; stat -c ' %U' /data/secret")).toBe("secret user\n");
  const attempts = "chmod 777 secret; rm secret; mv secret s; ln secret l; truncate -s 0 secret; touch secret; mkdir d";
  const { stderr } = await vm.exec(attempts, { cwd: "/data" });
  // Under a root server, the kernel refuses to open a file for writing whose group does not exist in the VM, before it
  // checks the mount.
  const refusals = Array(7).fill(expect.stringMatching(/Read-only file system|Permission denied/));
  expect(stderr.trim().split("\n")).toEqual(refusals);
  expect(fs.readdirSync(hostPath)).toEqual(["secret"]);
  expect(fs.readFileSync(path.join(hostPath, "secret"), "utf8")).toBe("secret");
});

test("a file can be shown by itself", async () => {
  const hostPath = path.join(filled("config", "answer=42\n"), "config");
  const vm = await boot({ mounts: [{ path: "/etc/app/config", hostPath }] });
  expect(await output(vm, "cat /etc/app/config; ls -A /etc/app")).toBe("answer=42\nconfig\n");
  expect((await vm.exec("echo x >> /etc/app/config")).exitCode).not.toBe(0);
  expect(fs.readFileSync(hostPath, "utf8")).toBe("answer=42\n");
});

test("mounts nest, below each other and below the home, in whatever order they are given", async () => {
  const [home, project, library] = [temporaryDirectory(), filled("main"), filled("code")];
  fs.mkdirSync(path.join(project, "lib"));
  const mounts = [
    { path: "/home/user/project/lib", hostPath: library },
    { path: "/home/user/project", hostPath: project, readOnly: false },
    { path: "/tmp/library/", hostPath: library },
  ];
  const vm = await boot({ home, mounts });
  expect(await output(vm, "cat project/main project/lib/code /tmp/library/code; echo > project/new")).toBe(
    "maincodecode",
  );
  expect((await vm.exec("echo > project/lib/new")).stderr).toContain("Read-only file system");
  expect(fs.readdirSync(home)).toEqual(["project"]);
  expect(fs.readdirSync(project)).toEqual(["lib", "main", "new"]);
});

test("a mount in a read-only directory or behind a link is refused, and the error names it", async () => {
  const [home, below] = [temporaryDirectory(), temporaryDirectory()];
  fs.symlinkSync("/tmp", path.join(home, "link"));
  const refused = async (options, expected) => {
    expect(await rejection(AgentVm.create(options))).toMatchObject({ syscall: "mount", ...expected });
  };
  const at = (place) => [{ path: place, hostPath: below }];
  await refused({ mounts: at("/usr/no-such-directory") }, { code: "EROFS", path: "/usr/no-such-directory" });
  await refused({ home, mounts: at("/home/user/link") }, { code: "ELOOP", path: "/home/user/link" });
  await refused({ home, mounts: at("/home/user/link/x") }, { code: "ELOOP", path: "/home/user/link/x" });
  expect(fs.readdirSync(home)).toEqual(["link"]);
});

test("a host path that is missing or neither file nor directory rejects create and is named", async () => {
  const where = temporaryDirectory();
  const missing = path.join(where, "missing");
  expect(await rejection(AgentVm.create({ mounts: [{ path: "/data", hostPath: missing }] }))).toMatchObject({
    code: "ENOENT",
    path: missing,
    message: expect.stringContaining(missing),
  });
  expect(await rejection(AgentVm.create({ mounts: [{ path: "/data", hostPath: "/dev/null" }] }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining("/dev/null"),
  });
});

test.each([
  ["a mount that is no object", ["/data"], "mounts[0]"],
  ["no path", [{ hostPath: "/tmp" }], "mounts[0].path must be a string"],
  ["no host path", [{ path: "/data" }], "mounts[0].hostPath must be a string"],
  ["a relative path", [{ path: "data", hostPath: "/tmp" }], "mounts[0].path must be an absolute path inside the VM"],
  ["a relative host path", [{ path: "/data", hostPath: "." }], "mounts[0].hostPath must be an absolute path"],
  ["a path with ..", [{ path: "/a/../b", hostPath: "/tmp" }], 'without "." and ".."'],
  ["a readOnly that is no boolean", [{ path: "/a", hostPath: "/tmp", readOnly: 1 }], "mounts[0].readOnly"],
  ["a member of another name", [{ path: "/a", hostPath: "/tmp", readonly: true }], "readonly"],
  ["the root", [{ path: "//", hostPath: "/tmp" }], "mounts[0].path"],
  ["the programs", [{ path: "/usr", hostPath: "/tmp" }], "/usr"],
  ["the devices", [{ path: "/dev/x", hostPath: "/tmp" }], "/dev/x"],
  ["the processes", [{ path: "/proc", hostPath: "/tmp" }], "/proc"],
  ["the home", [{ path: "/home/user/", hostPath: "/tmp" }], "option home"],
  ["one place twice", ["/a", "//a/"].map((at) => ({ path: at, hostPath: "/tmp" })), "mounts[1].path"],
])("create refuses %s", async (_, mounts, words) => {
  expect(await rejection(AgentVm.create({ mounts }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining(words),
  });
});

test("without isolation there is nothing to mount in", async () => {
  const mounts = [{ path: "/data", hostPath: temporaryDirectory() }];
  expect(await rejection(AgentVm.create({ isolation: "none", mounts }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining("namespaces"),
  });
});
