"use strict";
// pause and resume of a VM. Where the VM's programs have no cgroup, both are refused, which the same tests check.

const fs = require("node:fs");
const path = require("node:path");

const { AgentVm } = require("..");
const { directoriesOf, serverNumber } = require("./fixture/cgroups");
const { withCommand } = require("./fixture/processes");
const { rejection, sleep, until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { boot } = require("./fixture/vm");

let served;
beforeAll(async () => {
  const { checks } = await AgentVm.doctor();
  served = checks.find(({ name }) => name === "cgroup").ok;
});

/** The body of a test of a VM that can be paused. Where it cannot, the test checks that pause is refused. */
function pausing(body) {
  return async () => {
    const vm = await boot();
    if (served) return body(vm);
    const error = await rejection(vm.pause());
    expect([error.code, error.message.includes("AgentVm.doctor()")]).toEqual(["ISOLATION_UNAVAILABLE", true]);
    await vm.resume();
    expect((await vm.exec("echo runs")).stdout).toBe("runs\n");
  };
}

/** How much a process has printed. */
async function printed(vm, pid) {
  return (await vm.readProcessOutput(pid, { after: Number.MAX_SAFE_INTEGER })).nextSeq;
}

/** Whether something prints. */
async function prints(vm, pid) {
  const before = await printed(vm, pid);
  await sleep(300);
  return (await printed(vm, pid)) > before;
}

/** What was printed before the pause is delivered. */
async function settled(vm, pid) {
  let before = -1;
  await until(async () => {
    const now = await printed(vm, pid);
    const stands = now === before;
    before = now;
    await sleep(20);
    return stands;
  });
}

const TICKS = "while :; do echo tick; sleep 0.01; done";

test(
  "a paused VM runs nothing, however it hides, and resume lets it continue where it was",
  pausing(async (vm) => {
    const hidden = `env -i setsid sh -c '(${TICKS}) &'`;
    const [plain, hiding] = [await vm.spawn("sh", ["-c", TICKS]), await vm.spawn("sh", ["-c", hidden])];
    for (const { pid } of [plain, hiding]) await until(async () => (await printed(vm, pid)) > 0);
    for (let round = 0; round < 2; round++) {
      await vm.pause();
      await vm.pause();
      for (const { pid } of [plain, hiding]) {
        await settled(vm, pid);
        expect(await prints(vm, pid)).toBe(false);
      }
      await vm.resume();
      await vm.resume();
      for (const { pid } of [plain, hiding]) await until(() => prints(vm, pid));
    }
  }),
);

test(
  "while it is paused, starts reject with VM_PAUSED, and what needs no program works",
  pausing(async (vm) => {
    const { contextId } = await vm.createContext();
    const child = await vm.spawn("cat");
    const file = `${(await vm.exec("pwd")).stdout.trim()}/file`;
    await vm.pause();
    const starts = [
      () => vm.exec("true"),
      () => vm.execFile("true"),
      () => vm.spawn("true"),
      () => vm.openShell(),
      () => vm.exec("true", { contextId }),
      () => vm.createContext(),
    ];
    const codes = [];
    for (const start of starts) codes.push((await rejection(start())).code);
    expect(codes).toEqual(starts.map(() => "VM_PAUSED"));
    await vm.writeFile(file, "content");
    expect(String(await vm.readFile(file))).toBe("content");
    expect((await vm.allProcesses()).map(({ command }) => command)).toContain("cat");
    expect((await vm.stats()).processes).toBeGreaterThan(0);
    await vm.writeProcessStdin(child.pid, "later\n");
    await vm.resume();
    child.stdin.end();
    expect(String(Buffer.concat(await child.stdout.toArray()))).toBe("later\n");
    expect((await vm.exec("echo again", { contextId })).stdout).toBe("again\n");
  }),
);

test(
  "kills, timeouts, aborts and closes end what is frozen, and the places of what they ended start programs again",
  pausing(async (vm) => {
    const over = new AbortController();
    const timed = vm.exec("sleep 1000", { timeout: 500 });
    const aborted = rejection(vm.exec("sleep 1000", { signal: over.signal }));
    const child = await vm.spawn("sh", ["-c", "sleep 1000 & sleep 1000"]);
    const signalled = await vm.spawn("sleep", ["1000"]);
    const shell = await vm.openShell({ command: "sh" });
    await until(async () => (await vm.allProcesses()).filter(({ command }) => command === "sleep").length === 5);
    await vm.pause();
    expect(await timed).toMatchObject({ timedOut: true, exitCode: 137 });
    over.abort();
    expect((await aborted).code).toBe("ABORTED");
    await child.kill();
    await vm.signalProcess(signalled.pid, "SIGKILL");
    expect((await signalled.exited).signal).toBe("SIGKILL");
    await shell.close();
    expect(await vm.allProcesses()).toEqual([]);
    await vm.resume();
    const outputs = await Promise.all(Array.from({ length: 40 }, (_, index) => vm.exec(`echo ${index}`)));
    expect(outputs.map(({ stdout }) => stdout)).toEqual(outputs.map((_, index) => `${index}\n`));
  }),
);

test(
  "a VM that is paused and resumed by many calls at a time ends as the last one says",
  pausing(async (vm) => {
    const { pid } = await vm.spawn("sh", ["-c", TICKS]);
    for (let round = 0; round < 10; round++) await Promise.all([vm.pause(), vm.resume(), vm.pause(), vm.resume()]);
    expect((await vm.exec("echo runs")).stdout).toBe("runs\n");
    await until(() => prints(vm, pid));
    await Promise.all([vm.resume(), vm.pause(), vm.resume(), vm.pause()]);
    expect((await rejection(vm.exec("true"))).code).toBe("VM_PAUSED");
  }),
);

test(
  "a resume that fails can be repeated",
  pausing(async (vm) => {
    const { pid } = await vm.spawn("sh", ["-c", `${TICKS} # 98763`]);
    await until(async () => (await printed(vm, pid)) > 0);
    await vm.pause();
    const [own] = withCommand("98763");
    const name = path.basename(/^0::(.*)$/m.exec(fs.readFileSync(`/proc/${own.pid}/cgroup`, "utf8"))[1]);
    const files = directoriesOf(serverNumber(own.pid)).map((directory) => path.join(directory, name, "cgroup.freeze"));
    const file = files.find((one) => fs.existsSync(one) && fs.readFileSync(one, "utf8") === "1\n");
    const { uid, gid, mode } = fs.statSync(file);
    // Init, too, may then not write it.
    if (process.getuid() === 0) fs.chownSync(file, 0, 0);
    fs.chmodSync(file, 0);
    for (let time = 0; time < 2; time++) expect((await rejection(vm.resume())).code).toBe("EACCES");
    expect(await prints(vm, pid)).toBe(false);
    fs.chownSync(file, uid, gid);
    fs.chmodSync(file, mode);
    await vm.resume();
    await until(() => prints(vm, pid));
  }),
);

test(
  "dispose ends a paused VM, after which both calls reject",
  pausing(async (vm) => {
    const child = await vm.spawn("sleep", ["98761"]);
    await vm.pause();
    await vm.dispose();
    expect((await child.exited).reason).toBe("disposed");
    await until(() => withCommand("sleep\u000098761").length === 0);
    expect([(await rejection(vm.pause())).code, (await rejection(vm.resume())).code]).toEqual([
      "VM_DISPOSED",
      "VM_DISPOSED",
    ]);
  }),
);

test("a killed server leaves nothing of a paused VM", async () => {
  const { child, line } = nodeScript(`
    const vm = await AgentVm.create();
    await vm.spawn("sleep", ["98762"]);
    console.log(await vm.pause().then(() => "paused", ({ code }) => code));
    setInterval(() => {}, 1000);`);
  expect(await line()).toBe(served ? "paused" : "ISOLATION_UNAVAILABLE");
  await until(() => withCommand("sleep\u000098762").length > 0);
  child.kill("SIGKILL");
  await until(() => withCommand("sleep\u000098762").length === 0);
});
