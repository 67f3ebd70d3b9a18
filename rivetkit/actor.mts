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
import { ACTION_MS, Calls, type Carried, type Connection } from "./calls.mjs";
import { failure, toClient } from "./errors.mjs";
import { removeHome } from "./home.mjs";
import { Machine } from "./machine.mjs";
import { type Use, methods } from "./methods.mjs";
import type { AgentOsActions, AgentOsEvents, AgentOsOptions } from "./remote.mjs";
import {
  ABORT,
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
  TAKE,
  encodedSize,
} from "./wire.mjs";

/** The actor's state contains nothing of the VM; `persist` keeps the home elsewhere. */
export type AgentOsState = Record<string, never>;

/** What one start of the actor holds. Only this package uses it. */
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

/** rivetkit's actor options (`sleepTimeout`, `actionTimeout`, `name`, …) and hooks. */
export interface AgentOsConfig<CP = undefined> extends ActorOptions {
  /** The options of `AgentVm.create`, and `persist`. Default: none. */
  options?: AgentOsOptions;
  /**
   * The `maxOutgoingMessageSize` that setup() has, if you set one there; rivetkit does not report it to actors. A larger
   * result is refused to rivetkit's plain client. In bytes; default 1,048,576, as rivetkit's.
   */
  maxOutgoingMessageSize?: number;
  /**
   * Decides who may connect: throws or rejects to refuse. rivetkit calls it for each connection, and for each call that its
   * plain client makes over HTTP. With it, the actor refuses calls without a connection (`FORBIDDEN`): those of rivetkit's
   * inspector and of schedules.
   */
  onBeforeConnect?: (
    c: BeforeConnectContext<AgentOsState, AgentOsVars, undefined, undefined, AgentOsEventTokens, None>,
    params: CP,
  ) => void | Promise<void>;
  /** rivetkit's hook. */
  onConnect?: (c: Connected<CP>, conn: Connected<CP>["conn"]) => void | Promise<void>;
  /** rivetkit's hook. */
  onDisconnect?: (
    c: DisconnectContext<AgentOsState, CP, undefined, AgentOsVars, undefined, undefined, AgentOsEventTokens, None>,
    conn: Connected<CP>["conn"],
  ) => void | Promise<void>;
  /** rivetkit's hook. */
  onCreate?: (
    c: CreateContext<AgentOsState, undefined, undefined, AgentOsEventTokens, None>,
    input: undefined,
  ) => void | Promise<void>;
  /** rivetkit's hook; it may use the VM. */
  onWake?: (
    c: WakeContext<AgentOsState, CP, undefined, AgentOsVars, undefined, undefined, AgentOsEventTokens, None>,
  ) => void | Promise<void>;
  /** rivetkit's hook, called before the VM ends. */
  onSleep?: (
    c: SleepContext<AgentOsState, CP, undefined, AgentOsVars, undefined, undefined, AgentOsEventTokens, None>,
  ) => void | Promise<void>;
  /** rivetkit's hook, called before the VM ends. */
  onDestroy?: (
    c: DestroyContext<AgentOsState, CP, undefined, AgentOsVars, undefined, undefined, AgentOsEventTokens, None>,
  ) => void | Promise<void>;
}

/** An actor definition, for rivetkit's `setup({ use })`. */
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
/** Bytes that rivetkit adds to a result, at most. */
const ENVELOPE = 256;

/**
 * Defines an actor that has a VM of its own, for rivetkit's `setup({ use: { vm: agentOs({ options }) } })`.
 *
 * The actor boots its VM on first use and shuts it down when it sleeps or is destroyed. While a process, a shell or an exec
 * runs it stays awake; it sleeps after `sleepTimeout` when the last of them has ended, however they ended, and no client is connected. Its
 * actions are `RemoteCalls`, its events `AgentOsEvents`.
 *
 * Arguments and results may have any size through `agent-vm/client`, under setup()'s default message limits. rivetkit's plain
 * client gets a rejection that names maxIncomingMessageSize or maxOutgoingMessageSize for a call that is too large. Its calls end
 * at `actionTimeout` and with their connection; an actor runs at most 4,096 of them at the same time, of which 1,024 over one
 * connection.
 */
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
  const { actionTimeout = ACTION_MS } = actorOptions;
  if (options.persist && options.home !== undefined) {
    throw new TypeError("options.home is one directory for every actor, options.persist one each: give one of them");
  }
  if (options.persist && !isAbsolute(String(options.persist.directory))) {
    throw new TypeError(`options.persist.directory must be an absolute path, not ${String(options.persist.directory)}`);
  }

  /** A call by rivetkit's plain client: one action, its result in one message. */
  const plain = (c: ActionSide, method: string, args: unknown[]): Promise<unknown> =>
    started(c).calls.plain(connectionOf(c), method, args, (result) => {
      const limit = maxOutgoingMessageSize - ENVELOPE;
      if (encodedSize(result, limit) <= limit) return result;
      throw failure(
        "LIMIT_EXCEEDED",
        `The result of ${method} is larger than maxOutgoingMessageSize (${maxOutgoingMessageSize} bytes, of which bytes take a third more): raise it in setup() and agentOs(), or use createClient of agent-vm/client`,
      );
    });
  const actions: Record<string, Action> = {
    ...Object.fromEntries(
      Object.keys(methods).map((method) => [method, (c: ActionSide, ...args: unknown[]) => plain(c, method, args)]),
    ),
    // While the actor stops there is none: its next start may have the call, which this one has not begun.
    [HELLO]: (c, client): Hello => {
      const connection = connectionOf(c);
      if (connection) c.vars.agentVm?.calls.hello(connection, client);
      return { incarnation: c.vars.agentVm?.machine.incarnation ?? STOPPING };
    },
    [BEGIN]: (c, request): Promise<Answer> | Answer =>
      c.vars.agentVm?.calls.begin(connected(c), request as Begin) ?? { state: "stale", incarnation: STOPPING },
    [FOLLOW]: (c, id, incarnation) => started(c).calls.follow(connected(c), id as string, incarnation as string),
    [PART]: (c, id, index, text) => started(c).calls.part(connected(c), id as string, index as number, text as string),
    [PIECE]: (c, id, at) => started(c).calls.piece(connected(c), id as string, at as number),
    [TAKE]: (c, id, incarnation, after) =>
      started(c).calls.take(connected(c), id as string, incarnation as string, after as number),
    [ABORT]: (c, id, incarnation) => started(c).calls.abort(connected(c), id as string, incarnation as string),
    [POSITIONS]: (c) => started(c).machine.positions(),
  };
  // Who may not connect may not call either: rivetkit asks the hook for connections alone.
  const guarded = (action: Action): Action =>
    onBeforeConnect ? (c, ...args) => (connected(c), action(c, ...args)) : action;

  const definition = actor({
    createState: (): AgentOsState => ({}),
    createVars: (): AgentOsVars => ({ agentVm: undefined }),
    events,
    options: actorOptions,
    ...(onBeforeConnect ? { onBeforeConnect } : {}),
    ...(onConnect ? { onConnect } : {}),
    onDisconnect: async (c, conn) => {
      c.vars.agentVm?.calls.closed(conn.id);
      await onDisconnect?.(c, conn);
    },
    ...(onCreate ? { onCreate } : {}),
    onWake: async (c) => {
      const machine = new Machine(c, options);
      const calls = new Calls(
        machine.incarnation,
        (method, args, carried) => invoke(machine, carried, method, args),
        actionTimeout,
      );
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
    actions: Object.fromEntries(Object.entries(actions).map(([name, action]) => [name, guarded(action)])),
  });
  // The type says what users may call, and nothing of what carries it.
  return definition as unknown as AgentOsDefinition<CP>;
}

/** What an action has of its caller: rivetkit's context, which has no connection where there is none. */
interface ActionSide {
  readonly vars: AgentOsVars;
  readonly conn?: { readonly id: string } | null;
  readonly conns: ReadonlyMap<string, unknown>;
}
type Action = (c: ActionSide, ...args: unknown[]) => unknown;

function connectionOf({ conn, conns }: ActionSide): Connection | undefined {
  if (!conn) return undefined;
  const { id } = conn;
  return { id, isOpen: () => conns.has(id) };
}

function connected(c: ActionSide): Connection {
  const connection = connectionOf(c);
  if (connection) return connection;
  throw failure("FORBIDDEN", "This actor takes calls over connections only, which rivetkit's inspector has not");
}

async function invoke(machine: Machine, carried: Carried, method: string, args: unknown[]): Promise<unknown> {
  if (!Object.hasOwn(methods, method)) throw failure("INVALID_ARGUMENT", `An agent-vm actor has no call ${method}`);
  const call: (use: Use, ...args: never[]) => Promise<unknown> = methods[method as keyof typeof methods];
  try {
    // The VM checks what its calls are given: here it is whatever the client sent.
    return await machine.run(() => call({ machine, ...carried }, ...(args as never[])));
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
