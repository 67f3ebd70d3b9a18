// `agent-vm/client`: rivetkit's client, whose actor handles also listen, carry calls of any size, and survive the loss of
// their connection. It runs in browsers too.
import type { WaitForOutputOptions, WaitOptions } from "agent-vm";
import type {
  AnyActorDefinition,
  EventSchemaConfig,
  InferEventArgs,
  InferSchemaMap,
  Registry,
  RegistryActors,
} from "rivetkit";
import {
  type ActorAccessor as RivetAccessor,
  type ActorHandle as RivetHandle,
  ActorHandleRaw,
  type ClientConfigInput,
  type ClientRaw,
  type ExtractActorsFromRegistry,
  createClient as createRivetClient,
} from "rivetkit/client";
import { type RemoteArchives, archivesOf, remoteArchives } from "./archives.mjs";
import { type RemoteStreams, remoteStreams } from "./file-streams.mjs";
import { Link } from "./link.mjs";
import { type OutputLink, waitForMatch } from "./output-wait.mjs";
import type { AgentOsActions, RemoteVariants } from "./remote.mjs";
import { waitForScreenMatch } from "./screen-wait.mjs";
import { type RemoteStats, remoteStats } from "./stats-watching.mjs";
import type { Listener } from "./streams.mjs";
import { type RemoteTrees, remoteTrees } from "./trees.mjs";
import { type RemoteWatches, remoteWatches } from "./watching.mjs";

export type { RemoteArchives } from "./archives.mjs";
export type { RemoteStreams } from "./file-streams.mjs";
export type { RemoteStats } from "./stats-watching.mjs";
export type { RemoteTrees } from "./trees.mjs";
export type { RemoteWatches } from "./watching.mjs";

type EventsOf<AD extends AnyActorDefinition> = AD extends { config: { events?: infer E } }
  ? E extends EventSchemaConfig
    ? E
    : Record<never, never>
  : Record<never, never>;
/** rivetkit infers the result of `event<T>()` as a queue's token, whose type is `unknown`. */
type Payload<E extends EventSchemaConfig, K extends keyof E> = E[K] extends { readonly _eventType?: infer T }
  ? unknown extends T
    ? InferSchemaMap<E>[K]
    : T
  : InferSchemaMap<E>[K];
type Callback<E extends EventSchemaConfig, K extends keyof E> = (...args: InferEventArgs<Payload<E, K>>) => void;

/** What a handle has besides rivetkit's members. */
export interface Listening<E extends EventSchemaConfig> extends AsyncDisposable {
  /**
   * Calls `callback` for every event from now on. Returns a function that ends the subscription. A subscription keeps a
   * connection open and the actor awake; after a lost connection, the events that were missed are delivered.
   */
  on<K extends keyof E & string>(name: K, callback: Callback<E, K>): () => void;
  /** Calls `callback` for the next event only. Returns a function that ends the subscription. */
  once<K extends keyof E & string>(name: K, callback: Callback<E, K>): () => void;
  /** Removes a listener; without listeners and pending calls the connection closes. */
  off<K extends keyof E & string>(name: K, callback: Callback<E, K>): void;
  /** Ends every subscription and closes the connection. The next call or subscription opens another one. */
  dispose(): Promise<void>;
}

/**
 * rivetkit's handle, with events. It connects on its first call or subscription; a connection without pending calls and
 * subscriptions closes after a second, so that the actor can sleep. A call whose connection is lost continues over the next
 * one; if the VM has ended by then, it rejects with VM_DISPOSED.
 */
export type ActorHandle<AD extends AnyActorDefinition> = VariantsOf<AD> & RivetHandle<AD> & Listening<EventsOf<AD>>;
/** For an actor that agentOs() made: what rivetkit's types leave out. */
type VariantsOf<AD extends AnyActorDefinition> = AD extends { config: { actions?: infer A } }
  ? [A] extends [AgentOsActions]
    ? RemoteVariants & RemoteStreams & RemoteStats & RemoteArchives & RemoteTrees & RemoteWatches
    : unknown
  : unknown;

/** Handles of one kind of actor. The arguments are rivetkit's. */
export interface ActorAccessor<AD extends AnyActorDefinition> {
  /** An existing actor, by key. */
  get(...args: Parameters<RivetAccessor<AD>["get"]>): ActorHandle<AD>;
  /** An actor by key, created on the first call if it does not exist. */
  getOrCreate(...args: Parameters<RivetAccessor<AD>["getOrCreate"]>): ActorHandle<AD>;
  /** An existing actor, by rivetkit's id. */
  getForId(...args: Parameters<RivetAccessor<AD>["getForId"]>): ActorHandle<AD>;
  /** A new actor. Rejects if one of that key exists. */
  create(...args: Parameters<RivetAccessor<AD>["create"]>): Promise<ActorHandle<AD>>;
}

/** rivetkit's client, with an accessor for each actor of the registry. */
export type Client<A extends Registry<RegistryActors>> = ClientRaw & {
  [K in keyof ExtractActorsFromRegistry<A>]: ActorAccessor<ExtractActorsFromRegistry<A>[K]>;
};

/** rivetkit's `createClient`, whose handles are `ActorHandle`s. */
export function createClient<A extends Registry<RegistryActors>>(
  endpointOrConfig?: string | ClientConfigInput,
): Client<A> {
  const client: object = createRivetClient<A>(endpointOrConfig);
  const links = new Set<WeakRef<Link>>();
  const listen = (raw: ActorHandleRaw): object => {
    const link = new Link(raw);
    for (const known of links) if (!known.deref()) links.delete(known);
    links.add(new WeakRef(link));
    return listening(raw, link);
  };
  return new Proxy(client, {
    get(target, name) {
      if (name === "dispose") {
        return async () => {
          for (const link of links) link.deref()?.dispose();
          await (target as ClientRaw).dispose();
        };
      }
      const value: unknown = Reflect.get(target, name);
      if (typeof name === "symbol" || name in target || typeof value !== "object" || value === null) return value;
      return accessor(value as Record<string, (...args: unknown[]) => unknown>, listen);
    },
  }) as Client<A>;
}

/** Wraps rivetkit's `client.vm`, whose functions return a handle or a promise of one. */
function accessor(
  functions: Record<string, (...args: unknown[]) => unknown>,
  listen: (raw: ActorHandleRaw) => object,
): object {
  return Object.fromEntries(
    Object.entries(functions).map(([name, get]) => [
      name,
      (...args: unknown[]) => {
        const handle = get(...args);
        return handle instanceof Promise ? handle.then(listen) : listen(handle as ActorHandleRaw);
      },
    ]),
  );
}

function listening(raw: ActorHandleRaw, link: Link): object {
  const add = (once: boolean) => (name: string, callback: Listener) => {
    const off = link.streams.add(name, callback, once);
    link.listening();
    return off;
  };
  const dispose = async (): Promise<void> => link.dispose();
  const outputLink: OutputLink = {
    call: (method, args) => link.call(method, args),
    on: add(false),
    onLost: (listener) => link.onLost(listener),
    track: (id) => link.streams.track(id),
    isOver: (id) => link.streams.isOver(id),
  };
  const archives = archivesOf((method, args) => link.call(method, args));
  const own = new Map<string | symbol, unknown>([
    ["on", add(false)],
    ["once", add(true)],
    ["off", (name: string, callback: Listener) => link.streams.remove(name, callback)],
    ["dispose", dispose],
    [Symbol.asyncDispose, dispose],
    ...Object.entries(remoteStreams((method, args) => link.call(method, args))),
    ...Object.entries(remoteStats(link)),
    ...Object.entries(remoteArchives(archives)),
    ...Object.entries(remoteTrees(archives)),
    ...Object.entries(remoteWatches((method, args) => link.call(method, args))),
  ]);
  return new Proxy(raw, {
    get(target, name) {
      if (own.has(name)) return own.get(name);
      if (typeof name === "symbol" || name === "then" || name in ActorHandleRaw.prototype) {
        return Reflect.get(target, name);
      }
      // The client matches regular expressions itself, so that none of a client's runs in the server.
      if (name === "waitForOutput") {
        return (...args: unknown[]) => {
          const [id, pattern, options] = args;
          if (!(pattern instanceof RegExp)) return link.call(name, args);
          return waitForMatch(outputLink, id as number | string, pattern, options as WaitForOutputOptions);
        };
      }
      if (name === "waitForScreen") {
        return (...args: unknown[]) => {
          const [id, pattern, options] = args;
          if (!(pattern instanceof RegExp)) return link.call(name, args);
          return waitForScreenMatch(outputLink.call, id as string, pattern, options as WaitOptions);
        };
      }
      return action(link, name);
    },
  });
}

/** An action, with its nested actions: rivetkit's actors may nest them (`handle.files.read()`). */
function action(link: Link, path: string): object {
  return new Proxy((...args: unknown[]) => link.call(path, args), {
    get: (target, name) =>
      typeof name === "symbol" || name === "then" ? Reflect.get(target, name) : action(link, `${path}.${name}`),
  });
}
