"use strict";
// Pausing and closing a process's output, and the event of its end.

const { rejection, sleep, until } = require("./fixture/promises");
const { boot, bootForFile } = require("./fixture/vm");

let vm;
const bytes = new Map();
const events = [];
beforeAll(async () => {
  vm = await bootForFile();
  vm.on("processOutput", ({ pid, stream, data }) => {
    const key = `${pid} ${stream}`;
    bytes.set(key, (bytes.get(key) ?? 0) + data.length);
    events.push(`${pid} ${data}`);
  });
  vm.on("processExit", ({ pid }) => events.push(`${pid} exit`));
  vm.on("processClose", (event) => events.push(`${event.pid} close ${Object.keys(event)}`));
});

const of = (pid, stream) => bytes.get(`${pid} ${stream}`) ?? 0;
const eventsOf = (pid) =>
  events.filter((event) => event.startsWith(`${pid} `)).map((event) => event.slice(`${pid} `.length));

/** Resolves when no more output of a stream has come for a while, to how much there was. */
async function still(pid, stream) {
  for (let before = -1; ;) {
    const now = of(pid, stream);
    if (now === before) return now;
    before = now;
    await sleep(150);
  }
}

test("a paused process can only fill its pipe, and continues when it is resumed", async () => {
  const { pid } = await vm.spawn("yes");
  await until(() => of(pid, "stdout") > 1_000_000);
  const before = of(pid, "stdout");
  await vm.pauseProcessOutput(pid);
  const paused = await still(pid, "stdout");
  expect(paused - before).toBeLessThan(2.5 * 1024 * 1024);
  await until(async () => {
    const { cpuMs } = (await vm.allProcesses()).find((each) => each.pid === pid);
    await sleep(50);
    return cpuMs === (await vm.allProcesses()).find((each) => each.pid === pid).cpuMs;
  });
  await vm.resumeProcessOutput(pid);
  await until(() => of(pid, "stdout") > paused + 5_000_000);
  await vm.killProcess(pid);
});

test("one stream can be paused alone", async () => {
  const { pid } = await vm.spawn("sh", ["-c", "yes & exec yes >&2"]);
  await vm.pauseProcessOutput(pid, "stderr");
  const paused = await still(pid, "stderr");
  const other = of(pid, "stdout");
  await until(() => of(pid, "stdout") > other + 5_000_000);
  expect(of(pid, "stderr")).toBe(paused);
  await vm.resumeProcessOutput(pid, "stderr");
  await until(() => of(pid, "stderr") > paused + 1_000_000);
  await vm.killProcess(pid);
});

test("a pause and an unread stream hold the output independently of each other", async () => {
  const handle = await vm.spawn("yes");
  const { pid } = handle;
  await vm.pauseProcessOutput(pid, "stdout");
  const paused = await still(pid, "stdout");
  const reading = (async () => {
    let length = 0;
    for await (const chunk of handle.stdout) if ((length += chunk.length) > 10_000_000) return;
  })();
  await sleep(100);
  expect(of(pid, "stdout")).toBe(paused);
  await vm.resumeProcessOutput(pid, "stdout");
  await reading;
  await handle.kill();
});

test("what a paused process wrote itself comes before its exit event; what its children write stays paused", async () => {
  const child = "(until [ -e exited ]; do sleep 0.02; done; echo child; touch wrote; sleep 60) &";
  const { pid } = await vm.spawn("sh", ["-c", `read go; echo own; ${child} exit 3`]);
  await vm.pauseProcessOutput(pid);
  await vm.writeProcessStdin(pid, "\n");
  expect(await vm.waitProcess(pid)).toBe(3);
  await vm.exec("touch exited; until [ -e wrote ]; do sleep 0.02; done; sleep 0.1");
  expect(eventsOf(pid)).toEqual(["own\n", "exit"]);
  await vm.resumeProcessOutput(pid);
  await until(() => eventsOf(pid).length > 2);
  expect(eventsOf(pid)).toEqual(["own\n", "exit", "child\n"]);
  await vm.killProcess(pid);
  await until(() => eventsOf(pid).includes("close pid"));
});

test("a process whose output is closed ends with SIGPIPE; one that ignores it gets EPIPE", async () => {
  const yes = await vm.spawn("yes");
  await vm.closeProcessOutput(yes.pid);
  expect(await yes.exited).toMatchObject({ signal: "SIGPIPE", reason: "signal", exitCode: 141 });
  // Python ignores SIGPIPE.
  const ignoring = await vm.spawn("python3", ["-c", "import os\nwhile True: os.write(1, b'on')"]);
  await vm.closeProcessOutput(ignoring.pid, "stdout");
  expect(await ignoring.exited).toMatchObject({ exitCode: 1, signal: null });
  expect(Buffer.concat(await ignoring.stderr.toArray()).toString()).toContain("[Errno 32] Broken pipe");
});

test("one stream can be closed alone; its readers reach the end, and a second close does nothing", async () => {
  const handle = await vm.spawn("sh", ["-c", "echo out; read go; echo lost; echo error >&2; read go; exit 0"]);
  const { stdout } = handle;
  await until(() => of(handle.pid, "stdout") === 4);
  await vm.closeProcessOutput(handle.pid, "stdout");
  await vm.closeProcessOutput(handle.pid, "stdout");
  expect(Buffer.concat(await stdout.toArray()).toString()).toBe("out\n");
  await vm.writeProcessStdin(handle.pid, "\n");
  // dash reports the failed write on stderr, or is ended by it.
  await handle.exited;
  expect(eventsOf(handle.pid).join("")).not.toContain("lost");
});

test("a paused output can be closed, also when the process has exited", async () => {
  const yes = await vm.spawn("yes");
  await vm.pauseProcessOutput(yes.pid);
  await still(yes.pid, "stdout");
  await vm.closeProcessOutput(yes.pid);
  expect((await yes.exited).signal).toBe("SIGPIPE");
  const { pid, exited } = await vm.spawn("sh", ["-c", "yes & exit 0"]);
  await exited;
  await vm.pauseProcessOutput(pid);
  await vm.closeProcessOutput(pid);
  await until(() => eventsOf(pid).includes("close pid"));
  await until(async () => !(await vm.allProcesses()).some(({ command }) => command === "yes"));
});

test("processClose comes right after the exit of a process that has left nothing behind", async () => {
  const { pid } = await vm.spawn("echo", ["x"]);
  await vm.waitProcess(pid);
  await until(() => eventsOf(pid).length > 2);
  expect(eventsOf(pid)).toEqual(["x\n", "exit", "close pid"]);
});

test("processClose comes after the last byte of what a process has left behind", async () => {
  const left = "(until [ -e last ]; do sleep 0.02; done; echo last) &";
  const { pid } = await vm.spawn("sh", ["-c", `${left} echo own; exit 0`]);
  await vm.waitProcess(pid);
  await sleep(100);
  expect(eventsOf(pid)).toEqual(["own\n", "exit"]);
  await vm.exec("touch last");
  await until(() => eventsOf(pid).length > 3);
  expect(eventsOf(pid)).toEqual(["own\n", "exit", "last\n", "close pid"]);
});

test("processClose comes before the exit event of the VM, for what is left of all processes", async () => {
  const own = await boot();
  const order = [];
  for (const event of ["processExit", "processClose", "exit"]) own.on(event, ({ pid }) => order.push([event, pid]));
  const left = await own.spawn("sh", ["-c", "sleep 60 & exit 0"]);
  await left.exited;
  const runs = await own.spawn("sleep", ["60"]);
  await own.dispose();
  expect(order.filter(([, pid]) => pid === left.pid).map(([event]) => event)).toEqual(["processExit", "processClose"]);
  expect(order.filter(([, pid]) => pid === runs.pid).map(([event]) => event)).toEqual(["processExit", "processClose"]);
  expect(order.at(-1)).toEqual(["exit", undefined]);
});

test.each(["pauseProcessOutput", "resumeProcessOutput", "closeProcessOutput"])(
  "%s checks its arguments",
  async (call) => {
    const { pid } = await vm.spawn("true");
    expect((await rejection(vm[call](99_999))).code).toBe("PROCESS_NOT_FOUND");
    expect((await rejection(vm[call]("1"))).code).toBe("INVALID_ARGUMENT");
    const error = await rejection(vm[call](pid, "stdin"));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toBe('stream must be one of "stdout", "stderr", not "stdin"');
    await vm.waitProcess(pid);
    expect(await vm[call](pid)).toBeUndefined();
  },
);
