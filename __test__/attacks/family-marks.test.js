"use strict";
// Where no cgroup identifies what a command has started, a mark does: the limit on file locks, which the kernel does not
// enforce. No program leaves its family or enters another one, whatever it does to its environment and its limits.

const { pythonJson, systemCallNumbers } = require("../fixture/guest-programs");
const { served } = require("../fixture/limits");
const { until } = require("../fixture/promises");
const { nodeScript } = require("../fixture/server-process");
const { boot, output } = require("../fixture/vm");

const levels = [
  ["namespaces", {}],
  ["landlock", { isolation: "landlock" }],
];

/** A command that starts a process, which leaves its session and its parents and has an empty environment. */
const DAEMON = "env -i setsid -f sleep 1000";

/** The same in several steps. */
const FORGOTTEN = `env -i setsid -f setsid -f sh -c 'exec env -i sleep "$0"' 1000`;

const calls = systemCallNumbers({ setrlimit: [160, 164], prlimit64: [302, 261] });

/** Python that tries to set the limit on its file locks to each value that another family might have, and reports it. */
const FORGE = `
import resource
def limits(pid):
    try:
        return resource.prlimit(pid, 10)
    except PermissionError:
        # "landlock" hides all but the caller's own.
        return "hidden"
before = [limits(0), limits(other)]
mark = before[0][1]
values = [mark + 1, mark - 1, 0, 1000, 2**64 - 1] if mark >= 0 else [0, 1000]
for value in values:
    pair = (ctypes.c_uint64 * 2)(value % 2**64, value % 2**64)
    for high in (0, 1 << 32):
        call(calls["setrlimit"], 10 | high, pair)
        for pid in (0, os.getpid(), os.getppid(), other):
            call(calls["prlimit64"], pid, 10 | high, pair, None)
            call(calls["prlimit64"], pid, 10 | high, pair, None, 0, -1)
print(json.dumps([before, [limits(0), limits(other)]]))`;

describe.each(levels)("%s", (_level, options) => {
  test("a process that leaves its session and its parents and clears its environment is found", async () => {
    const vm = await boot(options);
    // Repeated, to meet it before, during and after its execve.
    for (let round = 0; round < 5; round++) {
      const { background } = await vm.exec(`${DAEMON}; true`);
      expect(background.map(({ command, args }) => [command, ...args])).toEqual([["sleep", "1000"]]);
      await vm.killProcess(background[0].pid);
    }
    expect(await vm.exec(`${FORGOTTEN}; sleep 1000`, { timeout: 300 })).toMatchObject({ timedOut: true });
    expect(await vm.allProcesses()).toEqual([]);
    const { pid } = await vm.spawn("sh", ["-c", `${FORGOTTEN}; exec sleep 1001`]);
    await until(async () => (await vm.allProcesses()).filter(({ args }) => args[0]?.startsWith("100")).length === 2);
    await vm.killProcess(pid);
    expect(await vm.allProcesses()).toEqual([]);
  });

  test("what one command left is not ended with another one", async () => {
    const vm = await boot(options);
    const { background } = await vm.exec(`${DAEMON}; true`);
    await vm.exec("sleep 1000", { timeout: 100 });
    expect((await vm.allProcesses()).map(({ pid }) => pid)).toEqual(background.map(({ pid }) => pid));
  });

  test("no program sets the mark of any process", async () => {
    const vm = await boot(options);
    const { pid: other } = await vm.spawn("sleep", ["1000"]);
    const [before, after] = await pythonJson(vm, { other, calls }, FORGE);
    expect(after).toEqual(before);
    // The shell's own way; it reports success, as it does for core dumps.
    const [first, second] = (await output(vm, "bash -c 'ulimit -x; ulimit -x 1000; ulimit -x 0; ulimit -x'")).split(
      "\n",
    );
    expect(second).toBe(first);
    expect(await output(vm, "prlimit --nofile=50:50 sh -c 'ulimit -n'")).toBe("50\n");
    expect(await output(vm, "bash -c 'ulimit -a'")).toMatch(/open files .*\n(.*\n)*file locks/);
  });
});

test("a server whose own limit leaves no room for marks says so, unless it has cgroups", async () => {
  const { ended } = nodeScript(
    `
    for (const isolation of ["namespaces", "landlock"]) {
      try {
        const vm = await AgentVm.create({ isolation });
        console.log((await vm.exec("echo works")).stdout.trim());
        await vm.dispose();
      } catch (error) {
        console.log(error.code, /file locks/.test(error.message), /LimitLOCKS=infinity/.test(error.message));
      }
    }`,
    { prefix: ["prlimit", "--locks=1000:1000"] },
  );
  const each = served.cgroup ? "works" : "ISOLATION_UNAVAILABLE true true";
  expect(await ended).toMatchObject({ stdout: `${each}\n${each}`, stderr: "" });
});
