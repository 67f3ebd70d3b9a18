"use strict";
// Commands that try to end early, to outlive their context, to speak for others, or to make their context useless.
const { context } = require("./fixture/contexts");
const { until } = require("./fixture/promises");
const { boot } = require("./fixture/vm");

/** Writes a report such as the shell's own wherever the shell may have its socket. */
const forge = (status) => `for fd in 0 10 11 12 13 14; do printf '\\0S${status}\\0' >&$fd; done 2>/dev/null`;

test("a command cannot end early by what it prints", async () => {
  const run = await context(await boot());
  const ended = await run("printf '\\0S7\\0'; printf '\\0S7\\0' >&2; sleep 0.3; echo late");
  expect(ended).toMatchObject({ exitCode: 0, stdout: "\0S7\0late\n", stderr: "\0S7\0" });
});

test("a command cannot end early by writing to its shell's socket: not the shell, not a subshell, not a program", async () => {
  const run = await context(await boot());
  const program = `import os, socket, sys
for pid in ("self", str(os.getppid())):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try: open(f"/proc/{pid}/fd/{fd}", "wb", 0).write(b"\\\\0S7\\\\0") if int(fd) not in (1, 2) else None
        except OSError: pass`;
  for (const command of [forge(7), `(${forge(7)})`, `(${forge(7)}) & wait`, `python3 -c '${program}'`]) {
    const ended = await run(`${command}; sleep 0.3; echo late; (exit 3)`);
    expect(ended).toMatchObject({ exitCode: 3, stdout: "late\n", contextRestarted: false });
    expect(await run("echo next")).toMatchObject({ exitCode: 0, stdout: "next\n", contextRestarted: false });
  }
});

test("a job of an earlier command cannot end a later one", async () => {
  const run = await context(await boot());
  await run(`(while :; do ${forge(9)}; sleep 0.01; done) &`);
  for (let count = 0; count < 3; count++) {
    expect(await run("sleep 0.2; echo done; (exit 3)")).toMatchObject({ exitCode: 3, stdout: "done\n" });
  }
});

test("a job that takes commands away costs its context a restart, and others nothing", async () => {
  const vm = await boot();
  const [run, other] = [await context(vm), await context(vm)];
  await run("cd /tmp; (exec cat <&10 >/tmp/stolen) & sleep 0.3");
  // The shell and the job read from the same socket, so either may get a command.
  const restarted = until(async () => (await run("true", { timeout: 500 })).contextRestarted);
  for (let count = 0; count < 10; count++) expect((await other("echo on")).stdout).toBe("on\n");
  await restarted;
  expect(await run("pwd")).toMatchObject({ stdout: "/tmp\n", contextRestarted: false });
});

test("a shell without descriptors is restarted", async () => {
  const run = await context(await boot());
  const ended = await run('cd /tmp; for fd in /proc/$$/fd/*; do eval "exec ${fd##*/}>&-"; done; echo lost', {
    timeout: 5000,
  });
  expect(ended).toMatchObject({ contextRestarted: true });
  expect(await run("echo on")).toMatchObject({ stdout: "on\n" });
});

test("functions in the place of builtins do not change how commands are run", async () => {
  const run = await context(await boot());
  const names = "eval printf read export trap exec source shopt set exit unset echo cd test true".split(" ");
  await run(names.map((name) => `function ${name} { return 9; }`).join("; "));
  expect(await run("command printf '%s\\n' on; x=kept")).toMatchObject({ stdout: "on\n", contextRestarted: false });
  expect(await run("command printf '%s\\n' $x; sleep 1000 & false")).toMatchObject({ exitCode: 1, stdout: "kept\n" });
});

test("a shell that reports nothing any more, or is stopped, ends with the timeout", async () => {
  const run = await context(await boot());
  for (const command of ["builtin() { :; }", "kill -STOP $$"]) {
    expect(await run(`cd /tmp; ${command}`, { timeout: 300 })).toMatchObject({
      timedOut: true,
      contextRestarted: true,
    });
    expect(await run("echo on")).toMatchObject({ stdout: "on\n", contextRestarted: false });
  }
});

test("a shell that reports all the time holds up nothing else", async () => {
  const vm = await boot();
  const [run, other] = [await context(vm), await context(vm)];
  const flooding = run(`touch /tmp/begun; while :; do ${forge(0)}; done`, { timeout: 1500 });
  await until(() => vm.exists("/tmp/begun"));
  for (let count = 0; count < 10; count++) expect((await other("echo on")).stdout).toBe("on\n");
  expect((await vm.exec("echo on")).stdout).toBe("on\n");
  expect(await flooding).toMatchObject({ timedOut: true });
  expect(await run("echo on")).toMatchObject({ stdout: "on\n" });
});

test("an environment that is too large to keep does not end its context", async () => {
  const run = await context(await boot());
  await run("export BEFORE=1");
  await run("export LARGE=$(head -c 9000000 /dev/zero | tr '\\0' x)");
  expect(await run("echo ${#LARGE}")).toMatchObject({ stdout: "9000000\n", contextRestarted: false });
  await run("exit");
  expect(await run("echo $BEFORE ${#LARGE}")).toMatchObject({ stdout: "1 0\n" });
});

test("nothing that a command has started outlives a timeout, however far it went", async () => {
  const vm = await boot();
  const run = await context(vm);
  await run("sleep 1001 &");
  const daemon = `import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64); os.environ.clear(); os.execve("/usr/bin/sleep", ["sleep", "1002"], {})
    os._exit(0)
os.wait()`;
  expect(await run(`python3 -c '${daemon}'; touch /tmp/made; sleep 1003`, { timeout: 2000 })).toMatchObject({
    timedOut: true,
  });
  expect(await vm.exists("/tmp/made")).toBe(true);
  const left = (await vm.allProcesses()).filter(({ command }) => command === "sleep");
  expect(left.map(({ args }) => args)).toEqual([["1001"]]);
});
