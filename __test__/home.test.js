"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

test("a home outlives its VM, and the next VM finds its files", async () => {
  const home = temporaryDirectory();
  const first = await boot({ home });
  expect(await output(first, "echo kept > note; mkdir deep; pwd; id -un")).toBe("/home/user\nuser\n");
  await first.writeFile("/home/user/deep/from-server", "written");
  await first.dispose();
  expect(fs.readFileSync(path.join(home, "note"), "utf8")).toBe("kept\n");
  const second = await boot({ home });
  expect(await output(second, "cat note deep/from-server")).toBe("kept\nwritten");
});

test("the home's owner on the host is the user inside", async () => {
  const home = temporaryDirectory();
  fs.writeFileSync(path.join(home, "secret"), "of the owner", { mode: 0o600 });
  fs.chmodSync(home, 0o700);
  const vm = await boot({ home });
  expect(await output(vm, "cat secret; stat -c ' %U:%G' . secret; touch mine; stat -c ' %U:%G' mine")).toBe(
    "of the owner user:user\n user:user\n user:user\n",
  );
  const { uid, gid, mode } = fs.statSync(home);
  expect({ uid, gid, mode: mode & 0o7777 }).toEqual({ uid: process.getuid(), gid: process.getgid(), mode: 0o700 });
  expect(fs.statSync(path.join(home, "mine"))).toMatchObject({ uid: process.getuid(), gid: process.getgid() });
});

test("a set-group-id directory gives its group and its bit to what is made in it, and may be made inside", async () => {
  const home = temporaryDirectory();
  fs.mkdirSync(path.join(home, "shared"));
  fs.chmodSync(path.join(home, "shared"), 0o2775);
  const vm = await boot({ home });
  await output(vm, "mkdir shared/by-program; touch shared/file");
  await vm.mkdir("/home/user/shared/by-call");
  for (const name of ["by-program", "by-call"]) {
    const { mode, gid } = fs.statSync(path.join(home, "shared", name));
    expect({ mode: mode & 0o7777, gid }).toEqual({ mode: 0o2755, gid: process.getgid() });
  }
  expect(fs.statSync(path.join(home, "shared/file")).gid).toBe(process.getgid());
  await output(vm, "mkdir own; chmod g+s own; mkdir own/below");
  for (const name of ["own", "own/below"]) expect(fs.statSync(path.join(home, name)).mode & 0o7777).toBe(0o2755);
});

if (process.getuid() === 0) {
  test("files of another owner or group than the home's are read as others may, and not written", async () => {
    const home = temporaryDirectory();
    for (const [name, uid, gid] of [
      ["owner", 4711, 0],
      ["group", 0, 4711],
    ]) {
      fs.mkdirSync(path.join(home, name));
      fs.writeFileSync(path.join(home, name, "file"), `of another ${name}\n`);
      for (const file of [name, `${name}/file`]) fs.chownSync(path.join(home, file), uid, gid);
      fs.chmodSync(path.join(home, name), 0o2777);
    }
    const vm = await boot({ home });
    expect(await output(vm, "cat owner/file group/file")).toBe("of another owner\nof another group\n");
    for (const name of ["owner", "group"]) {
      for (const written of [`/home/user/${name}/file`, `/home/user/${name}/new`]) {
        expect(await rejection(vm.writeFile(written, "x"))).toMatchObject({ code: "EACCES" });
      }
    }
  });
}

test("a home may be in a directory that only the server may enter", async () => {
  const above = temporaryDirectory();
  const home = path.join(above, "home");
  fs.mkdirSync(home);
  fs.chmodSync(above, 0o700);
  expect(await output(await boot({ home }), "touch here && ls")).toBe("here\n");
});

test("links in the path are followed when the VM is made", async () => {
  const above = temporaryDirectory();
  fs.mkdirSync(path.join(above, "real"));
  fs.symlinkSync("real", path.join(above, "link"));
  await output(await boot({ home: path.join(above, "link") }), "touch here");
  expect(fs.readdirSync(path.join(above, "real"))).toEqual(["here"]);
});

test("two VMs may share a home", async () => {
  const home = temporaryDirectory();
  const [one, other] = await Promise.all([boot({ home }), boot({ home })]);
  await one.writeFile("/home/user/word", "between us");
  expect(await output(other, "cat word")).toBe("between us");
});

test("a home that is missing, not a directory or not an absolute path rejects create and is named", async () => {
  const file = path.join(temporaryDirectory(), "file");
  fs.writeFileSync(file, "");
  const missing = path.join(file, "..", "missing");
  expect(await rejection(AgentVm.create({ home: missing }))).toMatchObject({
    code: "ENOENT",
    syscall: "open",
    path: missing,
    message: expect.stringContaining(missing),
  });
  expect(await rejection(AgentVm.create({ home: file }))).toMatchObject({ code: "ENOTDIR", path: file });
  expect(await rejection(AgentVm.create({ home: "relative" }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining("home must be an absolute path on the host"),
  });
});

test("without isolation HOME is the home, and it stays when the VM goes", async () => {
  const home = temporaryDirectory();
  const vm = await boot({ home, isolation: "none" });
  expect(await output(vm, "cd; pwd; touch here")).toBe(`${home}\n`);
  await vm.dispose();
  expect(fs.readdirSync(home)).toEqual(["here"]);
  expect(await rejection(AgentVm.create({ home: `${home}/no`, isolation: "none" }))).toMatchObject({ code: "ENOENT" });
});
