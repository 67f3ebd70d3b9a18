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
  RemoteExecBufferOptions,
  RemoteExecOptions,
  RemoteSpawnOptions,
  RemoteVariants,
  VmFetchInit,
  VmFetchResult,
} from "./remote.mjs";
