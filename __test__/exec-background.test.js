"use strict";
const { boot, output, until } = require("./fixture");

test("exec returns when the command ends, and names what it left running", async () => {
  const vm = await boot();
  // As often as it takes to meet the child before, in the middle of and after its execve.
  for (let i = 0; i < 40; i++) {
    const result = await vm.exec("sleep 60 & echo hi");
    expect(result).toMatchObject({ exitCode: 0, stdout: "hi\n" });
    expect(result.background).toEqual([{ pid: expect.any(Number), command: "sleep 60" }]);
    expect(await output(vm, `cat /proc/${result.background[0].pid}/comm; kill ${result.background[0].pid}`)).toBe(
      "sleep\n",
    );
  }
});

test("what is left lives on, and its later output neither blocks nor kills it", async () => {
  const vm = await boot();
  const { background } = await vm.exec(
    "(sleep 0.3; seq 300000; seq 300000 >&2; touch wrote; sleep 1000) & echo started",
  );
  expect(background.length).toBeGreaterThan(0);
  await output(vm, "until [ -e wrote ]; do sleep 0.05; done");
  expect((await vm.allProcesses()).map(({ command }) => command)).toContain("sleep");
});

test("a background job that holds no pipe is named too", async () => {
  const vm = await boot();
  const { background } = await vm.exec("sleep 1000 </dev/null >/dev/null 2>&1 & setsid -f sleep 1001; true");
  await until(() => background.length === 2);
  expect(background.map(({ command }) => command).sort()).toEqual(["sleep 1000", "sleep 1001"]);
});

test("what has ended by then is not named", async () => {
  const vm = await boot();
  expect((await vm.exec("sleep 0.01 & true & wait; echo done")).background).toEqual([]);
});

test("what one command left is not named by the next", async () => {
  const vm = await boot();
  await vm.exec("sleep 1000 &");
  expect((await vm.exec("echo next")).background).toEqual([]);
});

test("a server started in the background serves the commands that follow", async () => {
  const vm = await boot();
  await vm.exec("echo served > index.html; python3 -m http.server --bind 127.0.0.1 8000 &");
  await until(async () => (await vm.exec("curl -fs http://127.0.0.1:8000/")).stdout === "served\n");
});

test("killing what is left works by the pid that was told", async () => {
  const vm = await boot();
  const { background } = await vm.exec("sleep 1000 & sleep 1001 &");
  expect(background).toHaveLength(2);
  await Promise.all(background.map(({ pid }) => vm.killProcess(pid)));
  expect(await vm.allProcesses()).toEqual([]);
});
