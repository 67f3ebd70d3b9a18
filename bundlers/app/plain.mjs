import { AgentVm } from "agent-vm";

console.log(typeof AgentVm);
