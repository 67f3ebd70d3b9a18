// The actor definition: connects rivetkit's hooks and actions to a machine and its calls.
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
import { Machine, type OnDemand } from "./machine.mjs";
import { bare } from "./counted.mjs";
import { handleMethods } from "./handle-methods.mjs";
import { type Use, argumentsOf, methods } from "./methods.mjs";
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
  READ,
  type Read,
  type ReadRequest,
  STOPPING,
  TAKE,
  UNREAD,
  encodedSize,
} from "./wire.mjs";

/** The actor's state contains nothing of the VM; `persist` stores the home elsewhere. */
export type AgentOsState = Record<string, never>;

/** The data of one start of the actor. Only this package uses it. */
export interface AgentOsVars {
  /** The VM, once it has been created. */
  agentVm: Running | undefined;
}
interface Running {
  readonly machine: Machine;
  readonly calls: Calls;
}

/** The events in the form that rivetkit's definitions use. */
export type AgentOsEventTokens = { [K in keyof AgentOsEvents]: ReturnType<typeof event<AgentOsEvents[K]>> };
/** An event for which the VM is looked at while a client is subscribed. rivetkit asks at each subscription whether it may be. */
function onDemand(name: OnDemand): { canSubscribe: (c: ActionSide) => boolean } {
  return {
    canSubscribe: (c) => {
      const connection = connectionOf(c);
      if (connection) c.vars.agentVm?.machine.follow(name, connection);
      return true;
    },
  };
}
const events: AgentOsEventTokens = {
  processOutput: event(),
  processExit: event(),
  processClose: event(),
  shellData: event(),
  shellExit: event(),
  networkDenied: event(),
  portOpened: event(onDemand("portOpened")),
  portClosed: event(onDemand("portClosed")),
  shellWaiting: event(onDemand("shellWaiting")),
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
/** The maximum number of bytes that rivetkit adds to a result. */
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
  if (typeof options.disk === "object" && options.disk.name !== undefined) {
    throw new TypeError("options.disk.name is one disk for every actor, and one VM has a disk at a time: leave it out");
  }
  if (options.persist && !isAbsolute(String(options.persist.directory))) {
    throw new TypeError(`options.persist.directory must be an absolute path, not ${String(options.persist.directory)}`);
  }

  if (options.persist && !String(options.persist.directory).isWellFormed()) {
    throw new TypeError("options.persist.directory must be well-formed Unicode");
  }

  /** Runs a call by rivetkit's plain client: a single action, with its result in one message. */
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
    // While the actor stops, there is no machine: its next start can serve the call, which this start has not begun.
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
    [READ]: (c, id, incarnation, request): Promise<Read> =>
      started(c).calls.read(connected(c), id as string, incarnation as string, request as ReadRequest),
    [UNREAD]: (c, id) => started(c).calls.unread(connected(c), id as string),
    [POSITIONS]: (c) => started(c).machine.positions(),
  };
  // A client that may not connect may not call either, but rivetkit calls the hook only for connections.
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
      c.vars.agentVm?.machine.unfollow(conn.id);
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
  // The type declares the calls for users, without the internal actions that carry them.
  return definition as unknown as AgentOsDefinition<CP>;
}

/** What an action knows about its caller: rivetkit's context. Without a connection, it has none. */
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
  const call = methodOf(method, bare(carried).handles === true);
  refuseExtra(method, args);
  try {
    // The VM checks the arguments: here they can be anything that a client sent.
    return await machine.run(() => call({ machine, ...carried }, ...(args as never[])));
  } catch (error) {
    const known = toClient(error);
    // The cause is logged here, because rivetkit tells its log and the client only that there was an error.
    if (!isRivetErrorLike(known)) machine.warn(`${method} failed`, error);
    throw known;
  }
}

/** The VM does so too, for calls that get all arguments of their client. */
function refuseExtra(method: string, args: unknown[]): void {
  // Our own client alone makes the calls of handles.
  if (!Object.hasOwn(methods, method)) return;
  const most = argumentsOf(method as keyof typeof methods);
  if (args.slice(most).some((extra) => extra !== undefined)) {
    throw failure("INVALID_ARGUMENT", `${method} takes at most ${most} arguments, not ${args.length}`);
  }
}

type Method = (use: Use, ...args: never[]) => Promise<unknown>;

function methodOf(method: string, handles: boolean): Method {
  if (Object.hasOwn(methods, method)) return methods[method as keyof typeof methods];
  if (handles && Object.hasOwn(handleMethods, method)) return handleMethods[method as keyof typeof handleMethods];
  throw failure("INVALID_ARGUMENT", `An agent-vm actor has no call ${method}`);
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
