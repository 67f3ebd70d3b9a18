"use strict";
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

test("cwd is where the command starts", async () => {
  const vm = await boot();
  expect(await output(vm, "pwd", { cwd: "/tmp" })).toBe("/tmp\n");
  expect((await vm.execFile("pwd", [], { cwd: "/usr/lib" })).stdout).toBe("/usr/lib\n");
  await output(vm, "mkdir 'a b ü' && echo x > 'a b ü/file'");
  expect(await output(vm, "cat file", { cwd: "/home/user/a b ü" })).toBe("x\n");
});

test("a missing cwd is ENOENT, with the call and the path", async () => {
  const vm = await boot();
  const error = await rejection(vm.exec("pwd", { cwd: "/no/such/directory" }));
  expect(error).toMatchObject({ code: "ENOENT", syscall: "chdir", path: "/no/such/directory", errno: -2 });
  expect(error.message).toContain("/no/such/directory");
  expect(await output(vm, "pwd")).toBe("/home/user\n");
});

test("a cwd that is a file is ENOTDIR, and one that may not be entered is EACCES", async () => {
  const vm = await boot();
  await output(vm, "touch file; mkdir closed; chmod 0 closed");
  expect(await rejection(vm.exec("pwd", { cwd: "/home/user/file" }))).toMatchObject({
    code: "ENOTDIR",
    syscall: "chdir",
  });
  expect(await rejection(vm.exec("pwd", { cwd: "/home/user/closed" }))).toMatchObject({
    code: "EACCES",
    syscall: "chdir",
  });
});
