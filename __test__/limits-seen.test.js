"use strict";
// Programs find their VM's limits where they look for limits; if no cgroup can enforce a limit, create refuses it.

const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { muslRoot } = require("./fixture/roots");
const { nodeScript } = require("./fixture/server-process");
const { boot, output } = require("./fixture/vm");
const { AgentVm } = require("..");
const { heldLimits } = require("./fixture/limits");

const MEMORY = 256 * 2 ** 20;

let limits;
let refused;
beforeAll(async () => {
  limits = heldLimits(MEMORY);
  refused = ["memoryBytes", "cpus"].filter((name) => limits[name] === undefined);
});

/**
 * The VM's own directory of a controller, as given by /proc/self/cgroup and /proc/self/mountinfo together, or
 * undefined; and the reader's directory below it.
 */
const FIND = `
import json
own = {}
for line in open("/proc/self/cgroup"):
    number, controllers, path = line.rstrip("\\n").split(":", 2)
    for controller in controllers.split(","): own[controller] = path
found = {}
for line in open("/proc/self/mountinfo"):
    before, after = line.rstrip("\\n").split(" - ")
    kind, _, options = after.split(" ")
    if kind not in ("cgroup", "cgroup2"): continue
    root, point = before.split(" ")[3:5]
    for controller in options.split(",")[1:] if kind == "cgroup" else [""]:
        path = own[controller]
        found[controller] = {"root": root, "point": point, "path": path}
print(json.dumps(found))`;

const find = async (vm) => JSON.parse((await vm.execFile("python3", ["-c", FIND])).stdout);

/** The content of the first of these files that exists. */
async function first(vm, ...files) {
  return (
    await output(vm, `for file in ${files.join(" ")}; do if [ -e $file ]; then cat $file; break; fi; done`)
  ).trim();
}

/** The expected value if this limit is enforced, and otherwise. */
const where = (name, held, otherwise) => (limits[name] === undefined ? otherwise : held);

test("a limit that cannot be enforced is refused; a root server enforces both", async () => {
  const errors = await Promise.all(
    refused.map((name) => rejection(AgentVm.create({ limits: { [name]: name === "cpus" ? 1 : MEMORY } }))),
  );
  expect(errors.map(({ code }) => code)).toEqual(refused.map(() => "ISOLATION_UNAVAILABLE"));
  expect(process.getuid() === 0 ? refused : []).toEqual([]);
});

test("Node.js knows how much memory it has, in every command, one after another and at once", async () => {
  const vm = await boot({ limits });
  const constrained = async () => Number(await output(vm, "node -p 'process.constrainedMemory()'"));
  const seen = [await constrained(), await constrained(), ...(await Promise.all([1, 2, 3].map(constrained)))];
  expect(seen.map((bytes) => bytes === MEMORY)).toEqual(seen.map(() => where("memoryBytes", true, false)));
});

test("the limits are in the cgroup that a program is in, and in that of the VM", async () => {
  const vm = await boot({ limits });
  const found = await find(vm);
  expect(Object.values(found).filter(({ root }) => root !== "/")).toEqual([]);
  expect(Object.keys(found).length > 0).toBe(Object.keys(limits).length > 0);
  const { point, path: below } = found.memory ?? found[""] ?? { point: "/none", path: "/none" };
  const own = path.join(point, below);
  const whole = found.memory ? point : path.dirname(own);
  const memory = await Promise.all(
    [own, whole].map((directory) => first(vm, `${directory}/memory.max`, `${directory}/memory.limit_in_bytes`)),
  );
  expect(memory).toEqual(where("memoryBytes", [String(MEMORY), String(MEMORY)], ["", ""]));
  const cpu = found.cpu ?? found[""] ?? { point: "/none", path: "/none" };
  const cpus = path.join(cpu.point, cpu.path);
  const quota = await first(vm, `${cpus}/cpu.max`, `${cpus}/cpu.cfs_quota_us`);
  expect(quota).toMatch(where("cpus", /^100000( 100000)?$/, /^$/));
});

test("on version 1 each limit by itself shows the four directories that Java asks for", async () => {
  const names = Object.keys(limits);
  const vms = await Promise.all(names.map((name) => boot({ limits: { [name]: limits[name] } })));
  const shown = await Promise.all(vms.map(async (vm) => Object.keys(await find(vm)).sort()));
  const four = ["cpu", "cpuacct", "cpuset", "memory"];
  expect(shown).toEqual(vms.map(({ enforcement }, index) => (enforcement[names[index]] === "cgroup1" ? four : [""])));
});

test("nproc, OpenMP, Go and Python get as many processors as the limit can keep busy; env overrides it", async () => {
  const names = ["OMP_NUM_THREADS", "GOMAXPROCS", "PYTHON_CPU_COUNT"];
  const print = `nproc; printf '%s\\n' ${names.map((name) => `"\${${name}-none}"`).join(" ")}`;
  const seen = async (options) => (await output(await boot(options), print)).trim().split("\n");
  const all = (await seen({}))[0];
  expect(await seen({})).toEqual([all, "none", "none", "none"]);
  const none = [all, "none", "none", "none"];
  expect(await seen({ limits })).toEqual(where("cpus", ["1", "1", "1", "1"], none));
  const half = { ...limits, ...where("cpus", { cpus: 0.5 }, {}) };
  expect(await seen({ limits: half })).toEqual(where("cpus", ["1", "1", "1", "1"], none));
  const env = { GOMAXPROCS: "3" };
  expect(await seen({ limits, env })).toEqual(where("cpus", ["1", "1", "3", "1"], [all, "none", "3", "none"]));
});

test("a VM with a rootfs shows them too", async () => {
  const vm = await boot({ limits, rootfs: muslRoot(temporaryDirectory()) });
  const count = Number(await output(vm, "grep -c cgroup /proc/self/mountinfo || true"));
  expect(count > 0).toBe(Object.keys(limits).length > 0);
});

test("a VM with limits may use the processors that its server may use", async () => {
  const vm = await boot({ limits });
  const allowed = (text) => /^Cpus_allowed_list:\s*(.*)$/m.exec(text)[1];
  const inside = allowed(await output(vm, "cat /proc/self/status"));
  expect(inside).toBe(allowed(fs.readFileSync("/proc/self/status", "utf8")));
});

test("a server that may use only some processors passes on only those", async () => {
  const { stdout, stderr } = await nodeScript(
    `const vm = await AgentVm.create({ limits: ${JSON.stringify(limits)} });
    console.log((await vm.exec("taskset --cpu-list --pid $$")).stdout);
    await vm.dispose();`,
    { prefix: ["taskset", "--cpu-list", "0"] },
  ).ended;
  expect(stderr).toBe("");
  expect(stdout).toMatch(/affinity list: 0\s*$/);
});
