// An agent's loop: a model types one command after the other into a shell that keeps its state, and gets what each printed, until it
// is done. What it types is code that nobody has read, so the VM has bounds, each command has a time limit, and there is no network.
// Run it with `node examples/agent-loop/main.mjs`.
import { readFile, readdir } from "node:fs/promises";
import { AgentVm } from "agent-vm";
import { model } from "./model.mjs";

const [TURNS, SHOWN] = [20, 4096];
const project = new URL("project/", import.meta.url);

// memoryBytes and cpus belong here too, where the host can hold them: `npx agent-vm doctor` tells.
const vm = await AgentVm.create({ limits: { pids: 128, diskBytes: 64 * 2 ** 20 } });
try {
  // A copy: the model's edits stay inside until we take them out.
  for (const name of await readdir(project)) {
    await vm.writeFile(`/home/user/project/${name}`, await readFile(new URL(name, project)));
  }
  const { contextId } = await vm.createContext({ cwd: "/home/user/project" });

  const messages = [{ role: "user", content: "median() is wrong for some numbers. Repair it; `node check.js` tells." }];
  for (let turn = 1; ; turn++) {
    if (turn > TURNS) throw new Error(`not done after ${TURNS} turns`);
    const { text, command, seconds = 10 } = await model(messages);
    messages.push({ role: "assistant", content: text, command });
    console.log(`model: ${text}`);
    if (command === undefined) break;
    const timeout = Math.min(seconds, 60) * 1000;
    const { stdout, stderr, exitCode, timedOut } = await vm.exec(command, {
      contextId,
      timeout,
      maxOutputBytes: SHOWN,
    });
    const end = timedOut ? `took too long, and was killed after ${seconds} s` : `exit code ${exitCode}`;
    messages.push({ role: "tool", content: [end, stdout, stderr].filter(Boolean).join("\n") });
    console.log(`  run: ${end}`);
  }

  console.log(`\n${Buffer.from(await vm.readFile("/home/user/project/median.js"))}`);
} finally {
  await vm.dispose();
}
