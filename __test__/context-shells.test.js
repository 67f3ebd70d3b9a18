"use strict";
// Contexts with other shells than bash.
const { context } = require("./fixture/contexts");
const { rejection } = require("./fixture/promises");
const { boot, bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

describe.each(["sh", "dash", "zsh", "/bin/bash"])("%s", (shell) => {
  test("keeps its state, and reports each command's status and streams", async () => {
    const run = await context(vm, { shell });
    await run("cd /tmp; plain='5 6'; export EXPORTED=\"it's\"; greet() { echo hello $1; }; alias shout='echo LOUD'");
    expect(await run('pwd; echo "$plain" $EXPORTED; greet you; shout; echo err >&2; (exit 7)')).toMatchObject({
      stdout: "/tmp\n5 6 it's\nhello you\nLOUD\n",
      stderr: "err\n",
      exitCode: 7,
    });
    expect(await run("echo $?; cat; cat <<END\n$plain\nEND\n\necho 'ü\n'")).toMatchObject({ stdout: "7\n5 6\nü\n\n" });
  });

  test("an unclosed quote and a syntax error are errors of that command alone", async () => {
    const run = await context(vm, { shell });
    await run("kept=yes");
    for (const command of ["echo 'unclosed", "if then", "no-such-program"]) {
      const failed = await run(command);
      expect(failed).toMatchObject({ stdout: "", stderr: expect.stringMatching(/\S/), contextRestarted: false });
      expect(failed.exitCode).not.toBe(0);
      expect((await run("echo $kept")).stdout).toBe("yes\n");
    }
  });

  test("drops what jobs print later, and restarts with directory and environment", async () => {
    const run = await context(vm, { shell });
    await run("cd /tmp; export EXPORTED='a b'; plain=1");
    expect((await run("(sleep 0.1; echo late; sleep 1000) & echo now")).stdout).toBe("now\n");
    expect(await run("sleep 0.3; echo next")).toMatchObject({
      stdout: "next\n",
      background: [],
      contextRestarted: false,
    });
    expect(await run("exit 3")).toMatchObject({ exitCode: 3, contextRestarted: true });
    expect(await run('pwd; echo "$EXPORTED [$plain]"')).toMatchObject({ stdout: "/tmp\na b []\n" });
    expect(await run("sleep 1001; touch after", { timeout: 300 })).toMatchObject({ timedOut: true });
    expect(await run("pwd; ls after")).toMatchObject({ stdout: "/tmp\n" });
    expect((await vm.allProcesses()).filter(({ args }) => args.includes("1001"))).toEqual([]);
    await vm.deleteContext(run.id);
  });
});

test("fish keeps its state too", async () => {
  const run = await context(vm, { shell: "fish" });
  await run(
    "cd /tmp; set plain 5 6; set -gx EXPORTED \"it's\"; function greet; echo hello $argv; end; alias shout='echo LOUD'",
  );
  expect(await run("pwd; echo $plain $EXPORTED; greet you; shout; echo err >&2; sh -c 'exit 7'")).toMatchObject({
    stdout: "/tmp\n5 6 it's\nhello you\nLOUD\n",
    stderr: "err\n",
    exitCode: 7,
  });
  expect((await run("echo $status; cat")).stdout).toBe("7\n");
  expect((await run("echo 'unclosed")).exitCode).not.toBe(0);
  await run("sh -c 'sleep 0.1; echo late; sleep 1000' &");
  expect(await run("sleep 0.3; echo next")).toMatchObject({
    stdout: "next\n",
    background: [],
    contextRestarted: false,
  });
  expect(await run("exit 3")).toMatchObject({ exitCode: 3, contextRestarted: true });
  expect((await run("pwd; echo $EXPORTED $plain")).stdout).toBe("/tmp\nit's\n");
});

test("without bash a context has sh", async () => {
  const own = await boot({ env: { PATH: "/nowhere" } });
  const run = await context(own);
  expect(await run("cd /tmp; pwd")).toMatchObject({ exitCode: 0, stdout: "/tmp\n" });
  expect(await own.getContext(run.id)).toMatchObject({ shell: "/bin/sh" });
  expect(await rejection(own.createContext({ shell: "bash" }))).toMatchObject({ code: "ENOENT", path: "bash" });
});
