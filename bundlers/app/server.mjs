import { AgentVm } from "agent-vm";
import { agentOs } from "agent-vm/rivetkit";

const vm = await AgentVm.create();
const { stdout } = await vm.exec("id -un");
await vm.dispose();
console.log(stdout.trim(), typeof agentOs);
