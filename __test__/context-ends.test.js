"use strict";
// How commands, shells and contexts end.
const { context } = require("./fixture/contexts");
const { rejection, until } = require("./fixture/promises");
const { boot, bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const commands = async (of) => (await of.allProcesses()).map(({ command, args }) => [command, ...args].join(" "));

test("a timeout kills what the command started, and the context keeps its state and its earlier jobs", async () => {
  const own = await boot();
  const run = await context(own);
  await run("kept=yes; cd /tmp; sleep 1001 &");
  const command = "setsid sleep 1002 & (trap '' TERM INT PWR; sleep 1003) & echo early; sleep 1004; touch /tmp/after";
  expect(await run(command, { timeout: 500 })).toMatchObject({
    stdout: "early\n",
    timedOut: true,
    exitCode: 137,
    signal: "SIGKILL",
    reason: "timeout",
    background: [],
    contextRestarted: false,
  });
  expect((await commands(own)).filter((line) => line.startsWith("sleep"))).toEqual(["sleep 1001"]);
  expect(await run("echo $kept $? $PWD; ls after; jobs -r | wc -l")).toMatchObject({ stdout: "yes 137 /tmp\n1\n" });
});

test("a timeout ends loops and functions of bash, and bash lives on", async () => {
  const run = await context(vm);
  await run("kept=yes; outer() { inner; echo never; }; inner() { while :; do :; done; echo never; }");
  for (const command of [
    "while :; do :; done",
    "outer",
    "while :; do sleep 0.01; done",
    "until false; do outer; done",
  ]) {
    const ended = await run(`${command}; echo never`, { timeout: 200 });
    expect(ended).toMatchObject({ timedOut: true, stdout: "", contextRestarted: false });
    expect(await run("echo $kept; shopt -q extdebug || echo off; trap -p DEBUG")).toMatchObject({
      stdout: "yes\noff\n",
    });
  }
});

test("where a timeout can only end the shell, directory and exported variables outlive it", async () => {
  const run = await context(vm);
  await run('cd /tmp; export EXPORTED="it\'s x"; plain=1; mkfifo /tmp/never');
  const ended = await run("trap '' PWR; while :; do :; done", { timeout: 200 });
  expect(ended).toMatchObject({ timedOut: true, exitCode: 137, contextRestarted: true });
  expect(await run('pwd; echo "$EXPORTED [$plain]"')).toMatchObject({
    stdout: "/tmp\nit's x []\n",
    contextRestarted: false,
  });
});

test("the timeout counts from the start of the command, not from the call", async () => {
  const run = await context(vm);
  const first = run("sleep 0.6; echo first");
  const second = run("echo second", { timeout: 500 });
  expect(await first).toMatchObject({ stdout: "first\n", timedOut: false });
  expect(await second).toMatchObject({ stdout: "second\n", timedOut: false });
});

test("an abort ends the command and keeps the context; one of a command that waits keeps it from running", async () => {
  const run = await context(vm);
  await run("kept=yes");
  const [running, waiting] = [new AbortController(), new AbortController()];
  const first = rejection(run("touch /tmp/begun; sleep 1000", { signal: running.signal }));
  const second = rejection(run("touch /tmp/waited", { signal: waiting.signal }));
  await until(() => vm.exists("/tmp/begun"));
  waiting.abort(new Error("no longer"));
  expect(await second).toMatchObject({ code: "ABORTED", cause: { message: "no longer" } });
  running.abort();
  expect(await first).toMatchObject({ code: "ABORTED" });
  expect(await run("echo $kept")).toMatchObject({ stdout: "yes\n", contextRestarted: false });
  expect(await vm.exists("/tmp/waited")).toBe(false);
  expect(await rejection(run("echo", { signal: AbortSignal.abort() }))).toMatchObject({ code: "ABORTED" });
});

test("a command's output is bounded, and the rest is dropped and reported", async () => {
  const run = await context(vm);
  expect(await run("head -c 100000 /dev/zero | tr '\\0' x; echo e >&2", { maxOutputBytes: 10 })).toMatchObject({
    stdout: "x".repeat(10),
    stdoutTruncated: true,
    stderr: "e\n",
    stderrTruncated: false,
  });
  expect(await run("echo after")).toMatchObject({ stdout: "after\n", stdoutTruncated: false });
});

test.each([
  ["exit 3", { exitCode: 3, signal: null, reason: "exited" }],
  ["exec bash -c 'sleep 0.3; exit 4'", { exitCode: 4, signal: null, reason: "exited" }],
  ["kill -KILL $$", { exitCode: 137, signal: "SIGKILL", reason: "signal" }],
])("after `%s` the shell is restarted where it was, with what it had exported", async (command, status) => {
  const run = await context(vm, { env: { FIRST: "first" } });
  await run("mkdir -p '/tmp/a b'; cd '/tmp/a b'; export A=1 B='x\ny'; unset FIRST; plain=2");
  expect(await run(`echo last; ${command}`)).toMatchObject({ ...status, stdout: "last\n", contextRestarted: true });
  expect(await run('pwd; echo "$A $B [$plain] [$FIRST] ${FIRST+set}"; echo $?')).toMatchObject({
    stdout: "/tmp/a b\n1 x\ny [] [] \n0\n",
    contextRestarted: false,
  });
});

test("a context whose directory was removed restarts in the home", async () => {
  const run = await context(vm);
  await run("mkdir /tmp/gone; cd /tmp/gone");
  await run("rmdir /tmp/gone; exit");
  expect(await run("pwd")).toMatchObject({ stdout: "/home/user\n" });
});

test("a shell that is killed between two commands is restarted, and the next result says so", async () => {
  const run = await context(vm);
  await run("cd /tmp; plain=1");
  await vm.killProcess((await vm.getContext(run.id)).pid);
  expect(await run("pwd; echo [$plain]")).toMatchObject({ stdout: "/tmp\n[]\n", contextRestarted: true });
  expect(await run("pwd")).toMatchObject({ contextRestarted: false });
});

test("background jobs outlive their shell, and end with their context", async () => {
  const own = await boot();
  const run = await context(own);
  await run("sleep 1001 &");
  expect((await run("sleep 1002 & exit 1")).background.map(({ args }) => args)).toEqual([["1002"]]);
  await run("sleep 1003 &");
  const sleeping = async () => (await commands(own)).filter((line) => line.startsWith("sleep")).sort();
  expect(await sleeping()).toEqual(["sleep 1001", "sleep 1002", "sleep 1003"]);
  await own.deleteContext(run.id);
  expect(await own.allProcesses()).toEqual([]);
});

test("resetContext ends everything in a context and begins again", async () => {
  const own = await boot();
  const run = await context(own, { cwd: "/tmp", env: { FIRST: "first" } });
  await run("cd /; FIRST=changed; plain=1; sleep 1000 &");
  const running = run("touch /tmp/begun; sleep 1000");
  const waiting = rejection(run("touch /tmp/waited"));
  await until(() => own.exists("/tmp/begun"));
  await own.resetContext(run.id);
  expect(await running).toMatchObject({ exitCode: 137, signal: "SIGKILL", reason: "signal" });
  expect(await waiting).toMatchObject({ code: "ABORTED", message: expect.stringContaining("reset") });
  expect(await run("pwd; echo $FIRST [$plain]; jobs; ls waited")).toMatchObject({
    stdout: "/tmp\nfirst []\n",
    contextRestarted: false,
  });
  expect((await own.allProcesses()).length).toBe(1);
});

test("deleteContext ends everything in a context, and its name is not known any more", async () => {
  const own = await boot();
  const run = await context(own);
  const running = run("touch /tmp/begun; sleep 1000");
  const waiting = rejection(run("touch /tmp/waited"));
  await until(() => own.exists("/tmp/begun"));
  await own.deleteContext(run.id);
  expect(await running).toMatchObject({ exitCode: 137, reason: "signal" });
  const gone = { code: "CONTEXT_NOT_FOUND", message: `Context not found: ${run.id}` };
  expect(await waiting).toMatchObject(gone);
  expect(await own.allProcesses()).toEqual([]);
  for (const call of [run("echo"), own.getContext(run.id), own.resetContext(run.id), own.deleteContext(run.id)]) {
    expect(await rejection(call)).toMatchObject(gone);
  }
  expect(await own.listContexts()).toEqual([]);
});

test("when the VM ends, what runs and waits in contexts rejects with VM_DISPOSED", async () => {
  const own = await boot();
  const run = await context(own);
  const pending = [rejection(run("touch /tmp/begun; sleep 1000")), rejection(run("echo"))];
  await until(() => own.exists("/tmp/begun"));
  await own.dispose();
  for (const error of await Promise.all(pending)) expect(error).toMatchObject({ code: "VM_DISPOSED" });
  expect(await rejection(own.createContext())).toMatchObject({ code: "VM_DISPOSED" });
  expect(await rejection(run("echo"))).toMatchObject({ code: "VM_DISPOSED" });
});

test("contexts and the commands that wait are bounded", async () => {
  const own = await boot();
  const run = await context(own);
  const running = run("read line < /dev/zero", { timeout: 60_000 }).catch((error) => error);
  const waiting = Array.from({ length: 255 }, () => run(":").catch((error) => error));
  expect(await rejection(run("echo"))).toMatchObject({
    code: "LIMIT_EXCEEDED",
    message: expect.stringContaining("256"),
  });
  await own.deleteContext(run.id);
  await Promise.all([running, ...waiting]);
  for (let count = 0; count < 64; count++) await own.createContext({ shell: "sh" });
  expect(await rejection(own.createContext())).toMatchObject({
    code: "LIMIT_EXCEEDED",
    message: expect.stringContaining("64"),
  });
});

test("wrong arguments are refused, and name what would be right", async () => {
  const run = await context(vm);
  const calls = [
    [() => vm.createContext({ shell: "python3" }), "shell must be bash"],
    [() => vm.createContext({ shell: 1 }), "shell must be"],
    [() => vm.createContext({ cwd: "tmp" }), "cwd must be an absolute path"],
    [() => vm.createContext({ timeout: 1 }), 'no member "timeout"'],
    [() => vm.exec("echo", { contextId: 1 }), "contextId must be a string"],
    [() => vm.exec("echo", { contextId: null }), "contextId must be a string"],
    [() => vm.exec("echo", { contextId: run.id, cwd: "/" }), 'no member "cwd"'],
    [() => vm.exec("echo", { contextId: run.id, env: {} }), 'no member "env"'],
    [() => vm.exec("echo", { contextId: run.id, stdin: "x" }), 'no member "stdin"'],
    [() => vm.exec("a\0b", { contextId: run.id }), "NUL"],
    [() => vm.execFile("echo", [], { contextId: run.id }), 'no member "contextId"'],
    [() => vm.getContext(), "contextId must be a string"],
    [() => vm.deleteContext(7), "contextId must be a string"],
  ];
  for (const [call, message] of calls) {
    expect(await rejection(call())).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining(message),
    });
  }
  expect(await rejection(vm.createContext({ cwd: "/nowhere" }))).toMatchObject({ code: "ENOENT", path: "/nowhere" });
  expect(await rejection(vm.createContext({ shell: "/no/zsh" }))).toMatchObject({ code: "ENOENT", path: "/no/zsh" });
  expect(await rejection(run("x".repeat(128 * 1024 + 1)))).toMatchObject({ code: "E2BIG" });
  for (const id of ["context-0", "context-01", "", "__proto__", `${run.id} `]) {
    expect(await rejection(vm.exec("echo", { contextId: id }))).toMatchObject({ code: "CONTEXT_NOT_FOUND" });
  }
  expect((await run("echo on")).stdout).toBe("on\n");
});
