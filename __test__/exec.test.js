"use strict";
const { boot, output } = require("./fixture/vm");

test("a command's output, errors and exit code come back", async () => {
  const vm = await boot();
  expect(await vm.exec("echo out; echo err >&2; exit 3")).toEqual({
    exitCode: 3,
    signal: null,
    reason: "exited",
    usage: { userMs: expect.any(Number), systemMs: expect.any(Number), maxRssBytes: expect.any(Number) },
    stdout: "out\n",
    stderr: "err\n",
    stdoutTruncated: false,
    stderrTruncated: false,
    timedOut: false,
    background: [],
  });
});

test("a command that fails is a result: of every exit code, and of 127 for a missing command", async () => {
  const vm = await boot();
  for (const code of [0, 1, 2, 42, 126, 128, 255]) {
    expect(await vm.exec(`exit ${code}`)).toMatchObject({ exitCode: code, signal: null, reason: "exited" });
  }
  expect(await vm.exec("no-such-program")).toMatchObject({
    exitCode: 127,
    stderr: expect.stringContaining("not found"),
  });
  expect(await vm.exec("if")).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("Syntax error") });
});

test.each([
  ["SIGTERM", 143],
  ["SIGKILL", 137],
  ["SIGSEGV", 139],
  ["SIGINT", 130],
  ["SIGABRT", 134],
  ["SIGPIPE", 141],
])("a death by %s has that signal and exit code %i", async (signal, exitCode) => {
  const vm = await boot();
  expect(await vm.exec(`kill -${signal.slice(3)} $$`)).toMatchObject({
    signal,
    exitCode,
    reason: "signal",
    timedOut: false,
  });
});

test("no signal is blocked or ignored at the start, and a closed pipe ends its writer", async () => {
  const vm = await boot();
  const { stdout } = await vm.execFile("grep", ["-E", "^Sig(Blk|Ign)", "/proc/self/status"]);
  expect(stdout).toBe("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  expect(await output(vm, "yes | head -1")).toBe("y\n");
});

test("usage has the time and memory that the command took", async () => {
  const vm = await boot();
  const script = "b = bytearray(64 << 20); sum(range(5_000_000))";
  const { usage } = await vm.execFile("python3", ["-c", script]);
  expect(usage.userMs).toBeGreaterThan(10);
  expect(usage.systemMs).toBeGreaterThanOrEqual(0);
  expect(usage.maxRssBytes).toBeGreaterThan(64 << 20);
  expect(usage.maxRssBytes).toBeLessThan(512 << 20);
});

test("files and background processes outlive the command, its directory and variables do not", async () => {
  const vm = await boot();
  await output(vm, "echo kept > file; cd /tmp; export V=1");
  expect(await output(vm, "cat file; pwd; echo [$V]")).toBe("kept\n/home/user\n[]\n");
});

test("the command may be of several lines and hold any letters", async () => {
  const vm = await boot();
  expect(await output(vm, "cat <<'END'\nzwölf $HOME 'quoted' \"twice\"\n🦀\nEND\n")).toBe(
    "zwölf $HOME 'quoted' \"twice\"\n🦀\n",
  );
  expect(await vm.exec("")).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
});

test("a command has no terminal and leads its own process group", async () => {
  const vm = await boot();
  expect(await vm.exec("test -t 0 || test -t 1 || tty -s || echo none")).toMatchObject({ stdout: "none\n" });
  expect(await output(vm, "ps -o pid=,pgid=,sid= -p $$ | awk '$1 == $2 && $2 == $3 {print \"leader\"}'")).toBe(
    "leader\n",
  );
});

test("a command that begins as an option does is a command", async () => {
  const vm = await boot();
  await output(
    vm,
    `mkdir -p .local/bin; printf '#!/bin/sh\\necho "ran $1"' > .local/bin/-x; cp .local/bin/-x .local/bin/+x; chmod +x .local/bin/*`,
  );
  expect(await output(vm, "-x one")).toBe("ran one\n");
  expect(await output(vm, "+x two")).toBe("ran two\n");
  expect((await vm.exec("-e")).stderr).toContain("-e: not found");
});
