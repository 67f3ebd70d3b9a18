// An agent's loop: a model is asked what to do next, the VM does it, and the model gets the result, until it is done. What it
// writes is code that nobody has read, so the VM has bounds, each command has a time limit, and there is no network.
// Run it with `node examples/agent-loop/main.mjs`.
import { readFile, readdir } from "node:fs/promises";
import { AgentVm } from "agent-vm";
import { model } from "./model.mjs";
import { use } from "./tools.mjs";

const TURNS = 20;
const project = new URL("project/", import.meta.url);

// memoryBytes and cpus belong here too, where the host can hold them: `npx agent-vm doctor` tells.
const vm = await AgentVm.create({ limits: { pids: 128, diskBytes: 64 * 2 ** 20 } });
try {
  // A copy: the model's edits stay inside until we take them out.
  const names = await readdir(project);
  await vm.writeFiles(
    await Promise.all(
      names.map(async (name) => ({
        path: `/home/user/project/${name}`,
        content: await readFile(new URL(name, project)),
      })),
    ),
  );

  const messages = [{ role: "user", content: "median() is wrong for some numbers. Mend it; `node check.js` tells." }];
  for (let turn = 1; ; turn++) {
    if (turn > TURNS) throw new Error(`not done after ${TURNS} turns`);
    const { text, tool } = await model(messages);
    messages.push({ role: "assistant", content: text, tool });
    console.log(`model: ${text}`);
    if (tool === undefined) break;
    const result = await use(vm, tool);
    messages.push({ role: "tool", content: result });
    console.log(`  ${tool.name}: ${result.split("\n")[0]}`);
  }

  console.log(`\n${Buffer.from(await vm.readFile("/home/user/project/median.js"))}`);
} finally {
  await vm.dispose();
}
