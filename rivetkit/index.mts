// `agent-vm/rivetkit`: the server's side.
export {
  type AgentOsConfig,
  type AgentOsDefinition,
  type AgentOsEventTokens,
  type AgentOsState,
  type AgentOsVars,
  agentOs,
} from "./actor.mjs";
export type {
  AgentOsActions,
  AgentOsEvents,
  AgentOsOptions,
  RemoteCalls,
  RemoteExecOptions,
  RemoteSpawnOptions,
  VmFetchInit,
  VmFetchResult,
} from "./remote.mjs";
