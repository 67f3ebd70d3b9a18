// The actor definition: rivetkit's hooks around a machine, and its actions as that machine's calls.
import { isAbsolute } from "node:path";
import { type ActorDefinition, type ActorOptionsInput, actor, event } from "rivetkit";
import type {
  BeforeConnectContext,
  ConnectContext,
  CreateContext,
  DestroyContext,
  DisconnectContext,
  SleepContext,
  WakeContext,
} from "rivetkit";
import { isRivetErrorLike } from "rivetkit/errors";
import { Calls } from "./calls.mjs";
import { failure, toClient } from "./errors.mjs";
import { removeHome } from "./home.mjs";
import { Machine } from "./machine.mjs";
import { methods } from "./methods.mjs";
import type { AgentOsActions, AgentOsEvents, AgentOsOptions } from "./remote.mjs";
import {
  type Answer,
  BEGIN,
  type Begin,
  FOLLOW,
  HELLO,
  type Hello,
  PART,
  PIECE,
  POSITIONS,
  STOPPING,
  encodedSize,
} from "./wire.mjs";

/** Nothing of the VM is in the actor's state; what it may keep is its home. */
export type AgentOsState = Record<string, never>;

/** What one start of the actor holds. It is nobody's but this package's. */
export interface AgentOsVars {
  /** The VM, once there is one. */
  agentVm: Running | undefined;
}
interface Running {
  readonly machine: Machine;
  readonly calls: Calls;
}

/** The events as rivetkit's definitions hold them. */
export type AgentOsEventTokens = { [K in keyof AgentOsEvents]: ReturnType<typeof event<AgentOsEvents[K]>> };
const events: AgentOsEventTokens = {
  processOutput: event(),
  processExit: event(),
  shellData: event(),
  shellExit: event(),
  networkDenied: event(),
  vmBooted: event(),
  vmShutdown: event(),
};

type None = Record<never, never>;
type Connected<CP> = ConnectContext<
  AgentOsState,
  CP,
  undefined,
  AgentOsVars,
  undefined,
  undefined,
  AgentOsEventTokens,
  None
>;
type ActorOptions = NonNullable<ActorOptionsInput>;

/** rivetkit's actor options (`sleepTimeout`, `actionTimeout`, `name`, …), and those of its hooks that suit a VM. */
export interface AgentOsConfig<CP = undefined> extends ActorOptions {
  /** What the actor's VM is created with. */
  options?: AgentOsOptions;
  /**
   * What setup() was given as maxOutgoingMessageSize, where it was given one: rivetkit tells an actor nothing of it.
   * A result for rivetkit's plain client that is larger is refused. Default: rivetkit's own, 1,048,576.
   */
  maxOutgoingMessageSize?: number;
  /** Who may connect: throws, or rejects, for those who may not. */
  onBeforeConnect?: (
    c: BeforeConnectContext<AgentOsState, AgentOsVars, undefined, undefined, AgentOsEventTokens, None>,
    params: CP,
  ) => void | Promise<void>;
  /** As an actor of rivetkit's has it. */
  onConnect?: (c: Connected<CP>, conn: Connected<CP>["conn"]) => void | Promise<void>;
  /** As an actor of rivetkit's has it. */
  onDisconnect?: (
    c: DisconnectContext<AgentOsState, CP, undefined, AgentOsVars, undefined, undefined, AgentOsEventTokens, None>,
    conn: Connected<CP>["conn"],
  ) => void | Promise<void>;
  /** As an actor of rivetkit's has it. */
  onCreate?: (
    c: CreateContext<AgentOsState, undefined, undefined, AgentOsEventTokens, None>,
    input: undefined,
  ) => void | Promise<void>;
  /** As an actor of rivetkit's has it; called when the VM can be used. */
  onWake?: (
    c: WakeContext<AgentOsState, CP, undefined, AgentOsVars, undefined, undefined, AgentOsEventTokens, None>,
  ) => void | Promise<void>;
  /** Runs before the VM goes. */
  onSleep?: (
    c: SleepContext<AgentOsState, CP, undefined, AgentOsVars, undefined, undefined, AgentOsEventTokens, None>,
  ) => void | Promise<void>;
  /** Runs before the VM goes. */
  onDestroy?: (
    c: DestroyContext<AgentOsState, CP, undefined, AgentOsVars, undefined, undefined, AgentOsEventTokens, None>,
  ) => void | Promise<void>;
}

/** What `agentOs` makes, for `setup({ use })`. */
export type AgentOsDefinition<CP = undefined> = ActorDefinition<
  AgentOsState,
  CP,
  undefined,
  AgentOsVars,
  undefined,
  undefined,
  AgentOsEventTokens,
  None,
  AgentOsActions
>;

/** rivetkit's default, for setup() without one of its own. */
const DEFAULT_OUTGOING = 1_048_576;
/** What rivetkit puts around a result. */
const ENVELOPE = 256;

/** An actor that is an AgentVm: for `setup({ use: { vm: agentOs({ … }) } })`. */
export function agentOs<CP = undefined>(config: AgentOsConfig<CP> = {}): AgentOsDefinition<CP> {
  const {
    options = {},
    maxOutgoingMessageSize = DEFAULT_OUTGOING,
    onBeforeConnect,
    onConnect,
    onDisconnect,
    onCreate,
    onWake,
    onSleep,
    onDestroy,
    ...actorOptions
  } = config;
  if (options.persist && options.home !== undefined) {
    throw new TypeError("options.home is one directory for every actor, options.persist one each: give one of them");
  }
  if (options.persist && !isAbsolute(String(options.persist.directory))) {
    throw new TypeError(`options.persist.directory must be an absolute path, not ${String(options.persist.directory)}`);
  }

  /** A call by rivetkit's plain client: one action, its result in one message. */
  const plain = async (c: { vars: AgentOsVars }, method: string, args: unknown[]): Promise<unknown> => {
    const result = await invoke(started(c).machine, method, args);
    const limit = maxOutgoingMessageSize - ENVELOPE;
    if (encodedSize(result, limit) <= limit) return result;
    throw failure(
      "LIMIT_EXCEEDED",
      `The result of ${method} is larger than maxOutgoingMessageSize (${maxOutgoingMessageSize} bytes, of which bytes take a third more): raise it in setup() and agentOs(), or use createClient of agent-vm/client`,
    );
  };
  const actions = Object.fromEntries(
    Object.keys(methods).map((method) => [
      method,
      (c: { vars: AgentOsVars }, ...args: unknown[]) => plain(c, method, args),
    ]),
  );

  const definition = actor({
    createState: (): AgentOsState => ({}),
    createVars: (): AgentOsVars => ({ agentVm: undefined }),
    events,
    options: actorOptions,
    ...(onBeforeConnect ? { onBeforeConnect } : {}),
    ...(onConnect ? { onConnect } : {}),
    ...(onDisconnect ? { onDisconnect } : {}),
    ...(onCreate ? { onCreate } : {}),
    onWake: async (c) => {
      const machine = new Machine(c, options);
      const calls = new Calls(machine.incarnation, (method, args) => invoke(machine, method, args));
      c.vars.agentVm = { machine, calls };
      await onWake?.(c);
    },
    onSleep: async (c) => {
      try {
        await onSleep?.(c);
      } finally {
        await stop(c.vars, "sleep");
      }
    },
    onDestroy: async (c) => {
      try {
        await onDestroy?.(c);
      } finally {
        await stop(c.vars, "destroy");
        if (options.persist) await removeHome(options.persist.directory, c.actorId);
      }
    },
    actions: {
      ...actions,
      // While the actor stops there is none: its next start may have the call, which this one has not begun.
      [HELLO]: (c: { vars: AgentOsVars }): Hello => ({ incarnation: c.vars.agentVm?.machine.incarnation ?? STOPPING }),
      [BEGIN]: (c: { vars: AgentOsVars }, request: Begin): Promise<Answer> | Answer =>
        c.vars.agentVm?.calls.begin(request) ?? { state: "stale", incarnation: STOPPING },
      [FOLLOW]: (c: { vars: AgentOsVars }, id: string, incarnation: string) => started(c).calls.follow(id, incarnation),
      [PART]: (c: { vars: AgentOsVars }, id: string, index: number, text: string) =>
        started(c).calls.part(id, index, text),
      [PIECE]: (c: { vars: AgentOsVars }, id: string, at: number) => started(c).calls.piece(id, at),
      [POSITIONS]: (c: { vars: AgentOsVars }) => started(c).machine.positions(),
    },
  });
  // The type says what users may call, and nothing of what carries it.
  return definition as unknown as AgentOsDefinition<CP>;
}

async function invoke(machine: Machine, method: string, args: unknown[]): Promise<unknown> {
  if (!Object.hasOwn(methods, method)) throw failure("INVALID_ARGUMENT", `An agent-vm actor has no call ${method}`);
  const call: (machine: Machine, ...args: never[]) => Promise<unknown> = methods[method as keyof typeof methods];
  try {
    // The VM checks what its calls are given: here it is whatever the client sent.
    return await machine.run(() => call(machine, ...(args as never[])));
  } catch (error) {
    const known = toClient(error);
    // Nobody else will hear what it was: rivetkit tells the client, and its own log, that there was an error.
    if (!isRivetErrorLike(known)) machine.warn(`${method} failed`, error);
    throw known;
  }
}

function started(c: { vars: AgentOsVars }): Running {
  if (!c.vars.agentVm) throw failure("VM_DISPOSED", "The actor is stopping");
  return c.vars.agentVm;
}

async function stop(vars: AgentOsVars, reason: "sleep" | "destroy"): Promise<void> {
  const running = vars.agentVm;
  vars.agentVm = undefined;
  await running?.machine.stop(reason);
  running?.calls.stop();
}
