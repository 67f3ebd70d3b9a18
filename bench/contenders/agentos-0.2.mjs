import { AgentOs } from "@rivet-dev/agentos-core";

/**
 * The next agentOS: the same commands, included in the package, in one process beside Node.js that all its VMs share.
 */
export async function open() {
  const vm = await AgentOs.create();
  return {
    exec: async (command) => (await vm.exec(command)).stdout,
    close: () => vm.dispose(),
  };
}
