// All metrics, in the order of the table. A metric lists its contenders and the target for agent-vm: a ratio to a
// contender's median (`atMost` if small is good, `atLeast` if large is good), a `value` of its own, or both. A metric
// with a single sample for each process says how many `processes` make a round.
//
// Each metric is an export of a file in this directory. One that is not named here comes at the end of the table.
import { readdirSync } from "node:fs";

const order = [
  "exec",
  "execParallel",
  "contextExec",
  "rootExec",
  "rootExecRange",
  "loopHeld",
  "boot",
  "bootRootfs",
  "snapshot",
  "rollback",
  "fork",
  "forks1000",
  "snapshotOfSize",
  "bootNowAndThen",
  "bootAfterPause",
  "firstBoot",
  "firstCommand",
  "firstCommandAfterPause",
  "spawns",
  "stdout",
  "stdoutHandle",
  "execText",
  "terminal",
  "terminalRaw",
  "keystroke",
  "screenRead",
  "files",
  "upload",
  "download",
  "fileStream",
  "watchLatency",
  "table",
  "dispose",
  "bootAmongMany",
  "execAmongMany",
  "disposeAmongMany",
  "idleMemory1",
  "idleMemory100",
  "idleMemory1000",
];

const files = readdirSync(new URL(".", import.meta.url)).filter((name) => name !== "index.mjs");
const modules = await Promise.all(files.toSorted().map((name) => import(`./${name}`)));
const found = new Map(
  modules.flatMap((module) => Object.entries(module)).filter(([, { measure }]) => typeof measure === "function"),
);
const names = new Set([...order, ...found.keys()]);

export const metrics = Object.fromEntries(Array.from(names, (name) => [name, found.get(name)]));
