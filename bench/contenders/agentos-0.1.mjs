import common from "@rivet-dev/agent-os-common";
import { AgentOs } from "@rivet-dev/agent-os-core";

/**
 * agentOS as at the start of its documentation: WebAssembly commands on a kernel in JavaScript. Without `common` it has
 * no shell.
 */
export async function open() {
  const vm = await AgentOs.create({ software: [common] });
  return {
    exec: async (command) => (await vm.exec(command)).stdout,
    close: () => vm.dispose(),
  };
}
