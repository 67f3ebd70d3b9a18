// All metrics, in the order of the table. A metric says who takes part, and what is wanted of agent-vm: a ratio to a
// contender's median (`atMost` where small is good, `atLeast` where large is), a `value` of its own, or both. One that gives
// a single sample a process says of how many `processes` a round is made.
import * as commands from "./commands.mjs";
import * as fileMetrics from "./files.mjs";
import * as machines from "./machines.mjs";
import * as memory from "./memory.mjs";
import * as processes from "./processes.mjs";
import * as terminals from "./terminals.mjs";

const { exec, execParallel, loopHeld, execText } = commands;
const { files } = fileMetrics;
const { boot, bootNowAndThen, bootAfterPause, firstBoot, firstCommand, firstCommandAfterPause, dispose } = machines;
const { bootAmongMany, execAmongMany, disposeAmongMany } = machines;
const { idleMemory1, idleMemory100, idleMemory1000 } = memory;
const { spawns, stdout, table } = processes;
const { terminal, keystroke } = terminals;

export const metrics = {
  exec,
  execParallel,
  loopHeld,
  boot,
  bootNowAndThen,
  bootAfterPause,
  firstBoot,
  firstCommand,
  firstCommandAfterPause,
  spawns,
  stdout,
  execText,
  terminal,
  keystroke,
  files,
  table,
  dispose,
  bootAmongMany,
  execAmongMany,
  disposeAmongMany,
  idleMemory1,
  idleMemory100,
  idleMemory1000,
};
