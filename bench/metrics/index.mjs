// All metrics, in the order of the table. A metric says who takes part, and what is wanted of agent-vm: a ratio to a
// contender's median (`atMost` where small is good, `atLeast` where large is), a `value` of its own, or both.
import * as commands from "./commands.mjs";
import * as fileMetrics from "./files.mjs";
import * as machines from "./machines.mjs";
import * as processes from "./processes.mjs";
import * as terminals from "./terminals.mjs";

const { exec, execParallel, loopHeld, execText } = commands;
const { files } = fileMetrics;
const { boot, firstCommand, dispose, idleMemory } = machines;
const { spawns, stdout, table } = processes;
const { terminal, keystroke } = terminals;

export const metrics = {
  exec,
  execParallel,
  loopHeld,
  boot,
  firstCommand,
  spawns,
  stdout,
  execText,
  terminal,
  keystroke,
  files,
  table,
  dispose,
  idleMemory,
};
