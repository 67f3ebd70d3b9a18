import { AgentOs } from "@rivet-dev/agentos-core";

/** The next agentOS: the same commands, which it brings itself, in a process beside Node.js that all its VMs share. */
export async function open() {
  const vm = await AgentOs.create();
  return {
    exec: async (command) => (await vm.exec(command)).stdout,
    close: () => vm.dispose(),
  };
}
