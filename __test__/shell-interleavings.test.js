"use strict";
const crypto = require("node:crypto");
const { sleep } = require("./fixture/promises");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

/** Random integers below `n`, the same for the same seed. */
function dice(seed) {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % n;
  };
}

/** Writes, resizes and reads in random order, followed by a random kind of end. */
async function live(vm, shells, roll) {
  const shell = await shells.open({ command: "sh", args: ["-c", "stty raw -echo; printf ready; exec cat"] });
  await shell.shows("ready");
  const sent = [Buffer.from("ready")];
  const writes = [];
  for (let steps = 5 + roll(30); steps > 0; steps--) {
    const step = roll(8);
    if (step < 5) {
      const data = crypto.randomBytes(1 + roll(roll(3) ? 20 : 40_000));
      sent.push(data);
      const write = vm.writeShell(shell.id, data).catch((error) => error.code);
      writes.push(write);
      if (roll(2)) await write;
    } else if (step === 5) await vm.resizeShell(shell.id, 1 + roll(300), 1 + roll(100));
    else if (step === 6) await sleep(roll(10));
    else await vm.readShell(shell.id, { after: roll(50) });
  }
  const whole = Buffer.concat(sent);
  const ends = {
    read: async () => {
      while (shell.length < whole.length) await sleep(2);
      await shell.close();
    },
    closed: () => Promise.all([shell.close(), shell.close()]),
    killed: async () => {
      const { pid } = (await vm.listShells()).find(({ shellId }) => shellId === shell.id);
      await vm.killProcess(pid);
      await shell.wait();
    },
  };
  const end = Object.keys(ends)[roll(3)];
  await ends[end]();
  return {
    gapless: shell.gapless,
    lastEvent: shell.events.at(-1),
    failures: (await Promise.all(writes)).filter((code) => code !== undefined && code !== "SHELL_NOT_FOUND"),
    intact: shell.bytes().equals(end === "read" ? whole : whole.subarray(0, shell.length)),
  };
}

test("twenty shells at once, whatever is done to them, show every byte that was sent, in order", async () => {
  const seed = crypto.randomInt(2 ** 31);
  const vm = await bootForFile();
  const shells = shellsOf(vm);
  const roll = dice(seed);
  for (let round = 0; round < 4; round++) {
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => live(vm, shells, roll)));
    for (const outcome of outcomes) {
      expect({ seed, ...outcome }).toEqual({ seed, gapless: true, lastEvent: "exit", failures: [], intact: true });
    }
  }
  expect(vm.activeCount).toBe(0);
  expect(await vm.allProcesses()).toEqual([]);
});
