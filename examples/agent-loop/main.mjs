// An agent's loop: it asks a model what to do next, the VM does it, and the model gets the result, until the model is
// done. Nobody has reviewed the code that the model writes, so the VM has limits, each command has a timeout, and there
// is no network.
// Run it with `node examples/agent-loop/main.mjs`.
import { readFile, readdir } from "node:fs/promises";
import { AgentVm } from "agent-vm";
import { model } from "./model.mjs";
import { use } from "./tools.mjs";

const TURNS = 20;
const project = new URL("project/", import.meta.url);

// Set memoryBytes and cpus here too, if the host can enforce them: see `npx agent-vm doctor`.
const vm = await AgentVm.create({ limits: { pids: 128, diskBytes: 64 * 2 ** 20 } });
try {
  // A copy: the model's changes stay in the VM until we read them.
  const names = await readdir(project);
  await vm.writeFiles(
    await Promise.all(
      names.map(async (name) => ({
        path: `/home/user/project/${name}`,
        content: await readFile(new URL(name, project)),
      })),
    ),
  );

  const messages = [{ role: "user", content: "median() is wrong for some numbers. Fix it; `node check.js` tests it." }];
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
