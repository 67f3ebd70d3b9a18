"use strict";
const { until } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

test("exec returns when the command ends, and lists its background processes", async () => {
  const vm = await boot();
  // Repeated, to meet the child before, during and after its execve.
  for (let i = 0; i < 40; i++) {
    const result = await vm.exec("sleep 60 & echo hi");
    expect(result).toMatchObject({ exitCode: 0, stdout: "hi\n" });
    expect(result.background).toEqual([{ pid: expect.any(Number), command: "sleep", args: ["60"] }]);
    expect(await output(vm, `cat /proc/${result.background[0].pid}/comm; kill ${result.background[0].pid}`)).toBe(
      "sleep\n",
    );
  }
});

test("a background process lives on, and its later output neither blocks nor kills it", async () => {
  const vm = await boot();
  const { background } = await vm.exec(
    "(sleep 0.3; seq 300000; seq 300000 >&2; touch wrote; sleep 1000) & echo started",
  );
  expect(background.length).toBeGreaterThan(0);
  await output(vm, "until [ -e wrote ]; do sleep 0.05; done");
  expect((await vm.allProcesses()).map(({ command }) => command)).toContain("sleep");
});

test("a background job that holds no pipe is listed too, also one that has only just been started", async () => {
  const vm = await boot();
  for (let run = 0; run < 10; run++) {
    const { background } = await vm.exec("sleep 1000 </dev/null >/dev/null 2>&1 & setsid -f sleep 1001; true");
    expect(background.map(({ command, args }) => [command, ...args]).sort()).toEqual([
      ["sleep", "1000"],
      ["sleep", "1001"],
    ]);
    await Promise.all(background.map(({ pid }) => vm.killProcess(pid)));
  }
});

test("a process that has ended by then is not listed", async () => {
  const vm = await boot();
  expect((await vm.exec("sleep 0.01 & true & wait; echo done")).background).toEqual([]);
});

test("a background process of one command is not listed by the next", async () => {
  const vm = await boot();
  await vm.exec("sleep 1000 &");
  expect((await vm.exec("echo next")).background).toEqual([]);
});

test("a server started in the background serves the commands that follow", async () => {
  const vm = await boot();
  await vm.exec("echo served > index.html; python3 -m http.server --bind 127.0.0.1 8000 &");
  await until(async () => (await vm.exec("curl -fs http://127.0.0.1:8000/")).stdout === "served\n");
});

test("a background process is killed by the pid that exec returned", async () => {
  const vm = await boot();
  const { background } = await vm.exec("sleep 1000 & sleep 1001 &");
  expect(background).toHaveLength(2);
  await Promise.all(background.map(({ pid }) => vm.killProcess(pid)));
  expect(await vm.allProcesses()).toEqual([]);
});

test("a background process is listed as in the process table, even if it renames itself", async () => {
  const vm = await boot();
  const { background } = await vm.exec(`
    mkdir -p "my tools" && cp "$(command -v sleep)" "my tools/my sleep" && "my tools/my sleep" 1000 &
    bash -c 'exec -a "a title: with blanks" sleep 1001' &
    bash -c 'exec -a -login sleep 1002' &
    sh -c 'sleep "$@"; true' 'two words' 1003 0 &
    python3 -c 'import sys, time; time.sleep(1004)' "a b" "" "$(printf 'caf\\351')" &
    bash -c 'exec -a "" python3 -c "$0"' 'import ctypes, time; ctypes.CDLL(None).prctl(15, b"renamed"); time.sleep(1005)' &
    until grep -qx renamed /proc/[0-9]*/comm 2>/dev/null; do sleep 0.01; done
    until [ "$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '^100[0-3]$')" -ge 5 ]; do sleep 0.01; done`);
  const table = new Map((await vm.allProcesses()).map(({ pid, command, args }) => [pid, { command, args }]));
  expect(background.length).toBeGreaterThanOrEqual(6);
  for (const { pid, command, args } of background) expect({ pid, command, args }).toEqual({ pid, ...table.get(pid) });
  expect(background.map(({ command }) => command)).toEqual(
    expect.arrayContaining(["my sleep", "sleep", "login", "python3", "renamed"]),
  );
  const python = background.find(({ command }) => command === "python3");
  expect(python.args).toEqual(["-c", "import sys, time; time.sleep(1004)", "a b", "", "caf\ufffd"]);
});

test("the arguments that exec returns are bounded", async () => {
  const vm = await boot();
  const { background } = await vm.exec(
    `python3 -c 'import time; time.sleep(1000)' "$(seq -s . 100000 | cut -c 1-100000)" &`,
  );
  const [{ pid, args }] = background;
  expect(args.join("").length).toBeLessThanOrEqual(4096);
  await vm.killProcess(pid);
});
