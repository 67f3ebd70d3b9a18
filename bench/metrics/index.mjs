// All metrics, in the order of the table. A metric lists its contenders and the target for agent-vm: a ratio to a
// contender's median (`atMost` if small is good, `atLeast` if large is good), a `value` of its own, or both. A metric
// with a single sample for each process says how many `processes` make a round.
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
const { spawns, stdout, stdoutHandle, table } = processes;
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
  stdoutHandle,
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
