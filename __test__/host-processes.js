"use strict";
// The host's process table, to see what a VM leaves behind on it.

const fs = require("node:fs");

/** One process: pid, name, parent, state letter and start time; null once it is gone. */
function read(pid) {
  try {
    const text = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in parentheses, may hold anything.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const name = text.slice(text.indexOf("(") + 1, text.lastIndexOf(")"));
    return { pid, name, state: fields[0], ppid: Number(fields[1]), start: fields[19] };
  } catch {
    return null;
  }
}

function all() {
  return fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => read(Number(name)))
    .filter((process) => process !== null);
}

/**
 * A VM that was made ahead and is nobody's yet. While it is being made it has the name of the zygote, which in turn has that of
 * the thread that starts it, and then that of its program. It keeps its name until it hears whose it is, which `create` does
 * not wait for: a test that counts processes makes a call first that init answers.
 */
const isSpare = ({ name }) => name === "agent-vm-spare";

/** What all inits of a server are copies of; it stays for as long as the server. */
const isZygote = ({ name }) => /^(agent-vm-(zygote|block)|memfd:)/.test(name);

/** Children, grandchildren and so on. A VM's processes all descend from its init, and that from the server. */
function descendants(pid, { spares = false, zygote = false } = {}) {
  const table = all().filter((process) => (spares || !isSpare(process)) && (zygote || !isZygote(process)));
  const found = new Set([pid]);
  for (let before = 0; before !== found.size;) {
    before = found.size;
    for (const process of table) if (found.has(process.ppid)) found.add(process.pid);
  }
  return table.filter((process) => process.pid !== pid && found.has(process.pid));
}

/** The VM that `boot` makes, and its init. */
async function withInit(boot) {
  const before = new Set(descendants(process.pid).map(({ pid }) => pid));
  const vm = await boot();
  // One that was made ahead takes its name when it hears whose it is, which nobody waits for.
  await vm.exists("/");
  const [init] = descendants(process.pid).filter(({ pid, ppid }) => ppid === process.pid && !before.has(pid));
  return { vm, init };
}

/**
 * Waits, after a boot, until the VM that is made ahead then has been given up: no descriptor is taken or given back in the
 * background from then on.
 */
async function spareGone(pid) {
  const spares = () => descendants(pid, { spares: true }).filter(isSpare).length;
  const until = async (condition) => {
    while (!condition()) {
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
      });
    }
  };
  await until(() => spares() > 0);
  await until(() => spares() === 0);
  // Its process goes first, its descriptors after it.
  await new Promise((resolve) => {
    setTimeout(resolve, 100);
  });
}

/** Those of `processes` that still run: same number, same start. A zombie runs no more. */
function running(processes) {
  return processes.filter(({ pid, start }) => {
    const now = read(pid);
    return now !== null && now.start === start && now.state !== "Z" && now.state !== "X";
  });
}

/** Processes whose command line contains `text`. */
function withCommand(text) {
  return all().filter(({ pid }) => {
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
    } catch {
      return false;
    }
  });
}

module.exports = { descendants, running, spareGone, withCommand, withInit };
