import { agentOs } from "agent-vm/rivetkit";
import { setup } from "rivetkit";

const vm = agentOs({
  options: {},
});

export const registry = setup({ use: { vm } });
registry.start();
