// The server of the agentOS documentation, with one import changed.
import { agentOs } from "agent-vm/rivetkit";
import { setup } from "rivetkit";

const vm = agentOs({
  options: {},
});

export const registry = setup({ use: { vm }, noWelcome: true });
registry.start();
