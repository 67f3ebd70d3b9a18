"use strict";
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");
const { AgentVm, AgentVmError } = require("..");

test("every rejection is an AgentVmError with a code and a message for people", async () => {
  const vm = await boot();
  const gone = await AgentVm.create();
  await gone.dispose();
  const errors = await Promise.all(
    [
      vm.exec(),
      vm.exec("true", { cwd: "/none" }),
      vm.execFile("no-such-program"),
      vm.exec("sleep 9", { signal: AbortSignal.abort() }),
      vm.getProcess(99999),
      vm.waitShell("shell-9"),
      vm.getContext("context-9"),
      gone.exec("true"),
    ].map(rejection),
  );
  for (const error of errors) {
    expect(error).toBeInstanceOf(AgentVmError);
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe("AgentVmError");
    expect(error.message.length).toBeGreaterThan(10);
    expect(error.stack).toContain(error.message);
  }
  expect(errors.map(({ code }) => code)).toEqual([
    "INVALID_ARGUMENT",
    "ENOENT",
    "ENOENT",
    "ABORTED",
    "PROCESS_NOT_FOUND",
    "SHELL_NOT_FOUND",
    "CONTEXT_NOT_FOUND",
    "VM_DISPOSED",
  ]);
  expect(errors[4].message).toBe("Process not found: 99999");
  expect(errors[5].message).toBe("Shell not found: shell-9");
  expect(errors[6].message).toBe("Context not found: context-9");
});

test("errno, syscall and path are set where a system call failed, and only there", async () => {
  const vm = await boot();
  const failed = await rejection(vm.execFile("/no/such/program"));
  expect(failed).toMatchObject({ code: "ENOENT", errno: -2, syscall: "execve", path: "/no/such/program" });
  const refused = await rejection(vm.exec(1));
  expect(["errno", "syscall", "path"].filter((field) => field in refused)).toEqual([]);
});

test("an argument that is too long is E2BIG, and the longest valid one works", async () => {
  const vm = await boot();
  // The kernel's limit for one argument, including the final zero byte (MAX_ARG_STRLEN).
  const longest = 128 * 1024 - 1;
  expect((await vm.execFile("sh", ["-c", "echo ${#1}", "sh", "x".repeat(longest)])).stdout).toBe(`${longest}\n`);
  expect(await rejection(vm.execFile("echo", ["x".repeat(longest + 1)]))).toMatchObject({ code: "E2BIG" });
  const command = (length) => `: ${"x".repeat(length - 2)}`;
  expect(await vm.exec(command(longest))).toMatchObject({ exitCode: 0 });
  expect(await rejection(vm.exec(command(longest + 1)))).toMatchObject({ code: "E2BIG" });
  expect(await output(vm, "echo on")).toBe("on\n");
});

test("a list of arguments that is too long is E2BIG, however long it is", async () => {
  const vm = await boot();
  for (const count of [100, 1000]) {
    const args = Array.from({ length: count }, () => "x".repeat(100_000));
    expect(await rejection(vm.execFile("echo", args))).toMatchObject({ code: "E2BIG" });
    expect(await output(vm, "echo on")).toBe("on\n");
  }
});

test("a refused list of arguments does not count as memory of the programs that follow it", async () => {
  const vm = await boot();
  const before = (await vm.execFile("true")).usage.maxRssBytes;
  const args = Array.from({ length: 130 }, () => "x".repeat(100_000));
  expect(await rejection(vm.execFile("echo", args))).toMatchObject({ code: "E2BIG" });
  const after = (await vm.execFile("true")).usage.maxRssBytes;
  // Init may use a few pages itself.
  expect(after - before).toBeLessThan(1_000_000);
});

test("an environment that is too long is E2BIG", async () => {
  const vm = await boot();
  const env = { A: "x".repeat(200_000) };
  expect(await rejection(vm.exec("true", { env }))).toMatchObject({ code: "E2BIG" });
  expect(await output(vm, "echo on")).toBe("on\n");
});

test("arguments are checked first, then whether the VM is there, then numbers", async () => {
  const vm = await AgentVm.create();
  await vm.dispose();
  expect(await rejection(vm.exec())).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await rejection(vm.execFile("x", "y"))).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await rejection(vm.exec("true", { cwd: "x" }))).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await rejection(vm.getProcess("x"))).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await rejection(vm.exec("true", { signal: AbortSignal.abort() }))).toMatchObject({ code: "VM_DISPOSED" });
  expect(await rejection(vm.getProcess(99999))).toMatchObject({ code: "VM_DISPOSED" });
  expect(await rejection(vm.waitShell("shell-9"))).toMatchObject({ code: "VM_DISPOSED" });
});

test("a call never throws: it rejects", async () => {
  const vm = await boot();
  const calls = [
    () => vm.exec(),
    () => vm.execFile(),
    () => AgentVm.create(1),
    () =>
      vm.exec("x", {
        get cwd() {
          throw new Error("getter");
        },
      }),
  ];
  for (const call of calls) {
    const pending = call();
    expect(pending).toBeInstanceOf(Promise);
    await rejection(pending);
  }
});
