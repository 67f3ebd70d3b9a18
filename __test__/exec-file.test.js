"use strict";
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

const show = ["-c", "import json, sys; print(json.dumps(sys.argv[1:]))"];

test("arguments arrive unchanged: spaces, quotes, newlines, empty ones, stars, letters", async () => {
  const vm = await boot();
  const args = ["a b", "", "'", '"', "$HOME", "`id`", "*", "\\", "a\nb", "--", "-x", "zwölf 🦀", " ", ";", "&&"];
  expect(JSON.parse((await vm.execFile("python3", [...show, ...args])).stdout)).toEqual(args);
});

test("execFile starts no shell, and needs no arguments", async () => {
  const vm = await boot();
  expect((await vm.execFile("echo", ["$HOME; id"])).stdout).toBe("$HOME; id\n");
  expect((await vm.execFile("pwd")).stdout).toBe("/home/user\n");
});

test("execFile takes the options of exec", async () => {
  const vm = await boot();
  expect(await vm.execFile("cat", [], { stdin: "in" })).toMatchObject({ stdout: "in" });
  expect(await vm.execFile("sleep", ["1000"], { timeout: 100 })).toMatchObject({ timedOut: true, exitCode: 137 });
  expect(await vm.execFile("printenv", ["A"], { env: { A: "b" } })).toMatchObject({ stdout: "b\n" });
  expect(await vm.execFile("echo", ["12345"], { maxOutputBytes: 2 })).toMatchObject({
    stdout: "12",
    stdoutTruncated: true,
  });
});

test("thousands of arguments arrive", async () => {
  const vm = await boot();
  const args = Array.from({ length: 20_000 }, (_, index) => `argument-${index}`);
  expect((await vm.execFile("sh", ["-c", "echo $# ${20000}", "sh", ...args])).stdout).toBe("20000 argument-19999\n");
});

test("a program that is not there is ENOENT, by name and by path", async () => {
  const vm = await boot();
  for (const file of ["no-such-program", "/no/such/program", "./nothing"]) {
    const error = await rejection(vm.execFile(file));
    expect(error).toMatchObject({ code: "ENOENT", syscall: "execve", path: file, errno: -2 });
    expect(error.message).toContain(file);
  }
});

test("a program that may not be executed is EACCES", async () => {
  const vm = await boot();
  await output(vm, "echo 'echo x' > script");
  expect(await rejection(vm.execFile("/home/user/script"))).toMatchObject({
    code: "EACCES",
    path: "/home/user/script",
  });
  expect(await rejection(vm.execFile("/usr"))).toMatchObject({ code: "EACCES" });
});

test("a relative path starts at cwd", async () => {
  const vm = await boot();
  await output(vm, "mkdir d && printf '#!/bin/sh\\necho ran' > d/script && chmod +x d/script");
  expect((await vm.execFile("./script", [], { cwd: "/home/user/d" })).stdout).toBe("ran\n");
  expect((await vm.execFile("d/script")).stdout).toBe("ran\n");
});

test("a script without an interpreter's name is ENOEXEC, or run by sh as execvp does it", async () => {
  const vm = await boot();
  await output(vm, "echo 'echo ran' > script && chmod +x script");
  const outcome = await vm.execFile("/home/user/script").catch((error) => error.code);
  expect(outcome.stdout ?? outcome).toMatch(/^(ran\n|ENOEXEC)$/);
  expect(await output(vm, "./script")).toBe("ran\n");
});

test("a script whose interpreter is missing is ENOENT", async () => {
  const vm = await boot();
  await output(vm, "printf '#!/no/such/shell\\n' > script && chmod +x script");
  expect(await rejection(vm.execFile("/home/user/script"))).toMatchObject({ code: "ENOENT" });
});
