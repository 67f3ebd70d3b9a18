"use strict";
// What a context knows of the variables that its shell exports: they outlive the shell, whenever it ends.
const { context } = require("./fixture/contexts");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

test.each(["bash", "dash", "zsh", "fish"])(
  "the next command and getContext see what the last command of %s exported, without a pause between them",
  async (shell) => {
    const run = await context(vm, { shell });
    const set = shell === "fish" ? (value) => `set -gx STEP ${value}` : (value) => `export STEP=${value}`;
    for (let step = 0; step < 5; step++) {
      const ended = [run(set(step)), run("exit 3"), run("echo $STEP")];
      const [, exited, printed] = await Promise.all(ended);
      expect(exited).toMatchObject({ exitCode: 3, contextRestarted: true });
      expect(printed).toMatchObject({ stdout: `${step}\n`, exitCode: 0 });
    }
    await run(set("seen"));
    expect((await vm.getContext(run.id)).env).toMatchObject({ STEP: "seen" });
    await run(set("running"));
    const running = run("sleep 0.3");
    expect((await vm.getContext(run.id)).env).toMatchObject({ STEP: "running" });
    await running;
  },
);

test("a shell that is killed right after a command is restarted with what that command exported", async () => {
  const run = await context(vm);
  await run("export KILLED=first; (until [ -e /tmp/go ]; do sleep 0.01; done; kill -KILL $$) >/dev/null 2>&1 &");
  expect(await run("touch /tmp/go; sleep 1000; echo never")).toMatchObject({
    stdout: "",
    contextRestarted: true,
    signal: "SIGKILL",
  });
  expect(await run("echo $KILLED; ls / | head -n 1")).toMatchObject({ stdout: "first\nbin\n", stderr: "" });
});

test("a command that was ended by its timeout does not cost the context its exported variables", async () => {
  const run = await context(vm);
  await run("export KEPT=kept");
  expect(await run("while :; do :; done", { timeout: 200 })).toMatchObject({ contextRestarted: false, timedOut: true });
  expect(await run("exit 1")).toMatchObject({ contextRestarted: true });
  expect((await run("echo $KEPT; ls -d /")).stdout).toBe("kept\n/\n");
});

test("a shell that cannot print its variables any more is restarted with those that it printed last", async () => {
  const run = await context(vm);
  await run("export KEPT=kept");
  await run("enable -n export; LATER=later");
  expect((await vm.getContext(run.id)).env).toMatchObject({ KEPT: "kept" });
  await run("exit");
  expect((await run("echo $KEPT; export | grep -c KEPT")).stdout).toBe("kept\n1\n");
});

test("what a command does with its shell's options and traps does not get into the variables", async () => {
  const run = await context(vm);
  await run("export KEPT='a b\nc'; set -xuf; trap 'echo debug' DEBUG; IFS=:; set -o posix; unset LANG");
  const { env } = await vm.getContext(run.id);
  expect(env).toMatchObject({ KEPT: "a b\nc" });
  expect(env).not.toHaveProperty("LANG");
  await run("exit");
  expect((await run('echo "$KEPT"')).stdout).toBe("a b\nc\n");
});

test("a shell that is stopped does not hold up getContext for long", async () => {
  const run = await context(vm);
  await run("export KEPT=kept");
  await run("(sleep 0.2; kill -STOP $$) >/dev/null 2>&1 &");
  const stopped = run("echo begun; while :; do :; done", { timeout: 2000 });
  expect((await vm.getContext(run.id)).env).toMatchObject({ KEPT: "kept" });
  expect(await stopped).toMatchObject({ timedOut: true });
  expect((await run("echo $KEPT")).stdout).toBe("kept\n");
});
