// One start of an actor, with the VM that it boots on first use. It emits the VM's events, and keeps the actor awake
// while anything runs. It does not know how calls reach it.
import { randomUUID } from "node:crypto";
import {
  AgentVm,
  type ExitStatus,
  type ListeningPort,
  type PortClosedEvent,
  type VmProcess as ProcessHandle,
  type ShellWaitingEvent,
  type VmShell as ShellHandle,
} from "agent-vm";
import { isRivetErrorCode } from "rivetkit/errors";
import { type LocalProcess, type LocalShell, VmProcess } from "#handles";
import { Gate } from "./budget.mjs";
import { EarlyOutputs } from "./early.mjs";
import { failure } from "./errors.mjs";
import { homeOf } from "./home.mjs";
import { Ledger } from "./ledger.mjs";
import { openArchives, openFiles, openWatches } from "./open-files.mjs";
import { Places } from "./places.mjs";
import type { AgentOsEvents, AgentOsOptions } from "./remote.mjs";
import { Waits } from "./waits.mjs";
import type { Positions, ProcessNamed } from "./wire.mjs";

/** The part of the actor's context that a machine needs. */
export interface ActorSide {
  readonly actorId: string;
  broadcast(name: string, ...args: unknown[]): void;
  keepAwake<T>(promise: Promise<T>): Promise<T>;
  readonly log: { warn(entry: object): void };
}

/** How many calls with possibly large results (up to about 64 MiB) run at a time; the size is known only at the end. */
const LISTINGS = 4;
/**
 * The maximum output in one event: 43 KiB in base64. A message over 1 MiB would close the connections that receive it.
 */
const EVENT_BYTES = 32 * 1024;

/** How many calls of one client may wait in the VM at a time: half of those that the VM takes of each kind. */
export const MOST_WAITS_OF_ONE = 512;

/** The events that a VM is looked at for, while somebody listens. */
export type OnDemand = "portOpened" | "portClosed" | "shellWaiting";

export class Machine {
  /** Identifies this start of the actor. */
  readonly incarnation = randomUUID();
  readonly #options: AgentOsOptions;
  readonly #actor: ActorSide;
  #vm: AgentVm | undefined;
  /** How many VMs this start has booted. */
  #boots = 0;
  #booting: Promise<AgentVm> | undefined;
  #calls = 0;
  #letSleep: (() => void) | undefined;
  #stopped = false;
  /** For all VMs of this start: the exits of a VM that died stay here, for clients that were disconnected. */
  readonly #processes = new Ledger<number>();
  readonly #shells = new Ledger<string>();
  readonly #listings = new Gate(LISTINGS);
  /** What streams of clients have open; the actor stays awake meanwhile. */
  readonly files = openFiles(() => this.#settle());
  /** The archives that clients read or write, in the same way. */
  readonly archives = openArchives(() => this.#settle());
  /** The watches of clients, in the same way: a VM that ends would end them. */
  readonly watches = openWatches(() => this.#settle());
  /** The connections that are subscribed to each of these events. */
  readonly #followers = new Map<OnDemand, Set<string>>();
  readonly #processEnds = new Waits<number>();
  readonly #shellEnds = new Waits<string>();
  readonly #handleEnds = new Waits<LocalProcess | LocalShell>();
  /** The calls that wait in the VM. */
  readonly waits = new Places(MOST_WAITS_OF_ONE, `One client has at most ${MOST_WAITS_OF_ONE} calls that wait in a VM`);
  /** The first output of what our client has just started. */
  readonly early = new EarlyOutputs();

  constructor(actor: ActorSide, options: AgentOsOptions) {
    this.#actor = actor;
    this.#options = options;
  }

  /**
   * The VM, if it runs. Calls about a process or shell do not boot a VM only to find that the process or shell does not
   * exist.
   */
  async running(): Promise<AgentVm | undefined> {
    return this.#vm ?? (await this.#booting?.catch(() => undefined));
  }

  /**
   * The VM, booted once for all callers. If booting fails, all of them get the error, and the next call tries again.
   */
  async boot(): Promise<AgentVm> {
    if (this.#stopped) throw failure("VM_DISPOSED", "The actor is stopping");
    if (this.#vm) return this.#vm;
    this.#booting ??= this.#create().finally(() => (this.#booting = undefined));
    return this.#booting;
  }

  async #create(): Promise<AgentVm> {
    const { persist, ...options } = this.#options;
    if (persist) options.home = await homeOf(persist.directory, this.#actor.actorId);
    const vm = await AgentVm.create(options);
    this.#vm = vm;
    this.#boots++;
    vm.on("processOutput", (event) => {
      this.#processes.sent(event.pid, event.seq, event.data.byteLength);
      for (const part of inParts(event)) this.#send("processOutput", part);
    });
    vm.on("processExit", (event) => {
      this.#processes.ended(event.pid, event);
      this.#send("processExit", event);
      this.#settle();
    });
    vm.on("processClose", (event) => {
      this.#processes.closed(event.pid);
      this.#send("processClose", event);
    });
    vm.on("shellData", (event) => {
      this.#shells.sent(event.shellId, event.seq, event.data.byteLength);
      for (const part of inParts(event)) this.#send("shellData", part);
    });
    vm.on("shellExit", (event) => {
      this.#shells.ended(event.shellId, event);
      this.#send("shellExit", event);
      this.#settle();
    });
    vm.on("networkDenied", (event) => this.#send("networkDenied", event));
    vm.on("exit", ({ reason }) => {
      if (this.#vm === vm) this.#vm = undefined;
      this.files.clear();
      this.archives.clear();
      this.watches.clear();
      if (reason === "died") this.#send("vmShutdown", { reason: "error" });
      this.#settle();
    });
    for (const name of this.#followers.keys()) vm.on(name, this.#onDemand[name]);
    this.#send("vmBooted", {});
    return vm;
  }

  readonly #onDemand = {
    portOpened: (event: ListeningPort): void => this.#send("portOpened", event),
    portClosed: (event: PortClosedEvent): void => this.#send("portClosed", event),
    shellWaiting: (event: ShellWaitingEvent): void => this.#send("shellWaiting", event),
  };

  /** A connection is subscribed to the event, until `unfollow`. */
  follow(name: OnDemand, { id, isOpen }: { readonly id: string; readonly isOpen: () => boolean }): void {
    // The end of the connection has been handled already, so nothing would end this.
    if (!isOpen()) return;
    const followers = this.#followers.get(name) ?? new Set();
    if (followers.size === 0) this.#vm?.on(name, this.#onDemand[name]);
    this.#followers.set(name, followers.add(id));
  }

  /** A connection has closed. */
  unfollow(id: string): void {
    for (const [name, followers] of this.#followers) {
      if (!followers.delete(id) || followers.size > 0) continue;
      this.#followers.delete(name);
      this.#vm?.off(name, this.#onDemand[name]);
    }
  }

  /**
   * Records that a process or shell was started, which may not have written yet. If it has ended meanwhile, it stays
   * ended.
   */
  started(what: { pid: number } | { shellId: string }): void {
    if ("pid" in what) {
      this.#processes.started(what.pid);
      this.#processEnds.renewed(what.pid);
    } else this.#shells.started(what.shellId);
  }

  /** How handles of our client name a process of the running VM. */
  processNamed(vm: AgentVm, handle: ProcessHandle): ProcessNamed {
    const { start, pipes } = VmProcess.backendOf(handle);
    const numbers = (end: "input" | "output"): number[] =>
      [...pipes].filter(([, pipe]) => end in pipe).map(([number]) => number);
    const token = `${this.#bootOf(vm)}.${start}`;
    return { pid: handle.pid, token, inputs: numbers("input"), outputs: numbers("output") };
  }

  /** How they name a shell. A VM gives no shell's id twice. */
  shellNamed(vm: AgentVm, { shellId }: ShellHandle): { shellId: string; token: string } {
    return { shellId, token: `${this.#bootOf(vm)}.` };
  }

  /** Whether a token names something of a VM that has ended. */
  tokenIsOld(token: string | undefined): boolean {
    return typeof token === "string" && (this.#vm === undefined || !token.startsWith(`${this.#boots}.`));
  }

  /** 0 for a VM that has ended. */
  #bootOf(vm: AgentVm): number {
    return vm === this.#vm ? this.#boots : 0;
  }

  /** Like AgentVm.waitProcessExit. When the signal aborts, the VM keeps nothing of the caller. */
  waitProcess(vm: AgentVm, pid: number, signal?: AbortSignal): Promise<ExitStatus> {
    return this.#processEnds.wait(pid, () => vm.waitProcessExit(pid), signal);
  }

  /** Like AgentVm.waitShellExit, with the same abort. */
  waitShell(vm: AgentVm, shellId: string, signal?: AbortSignal): Promise<ExitStatus> {
    return this.#shellEnds.wait(shellId, () => vm.waitShellExit(shellId), signal);
  }

  /** Waits until what a handle is of has exited, with the same abort. */
  waitHandle(of: LocalProcess | LocalShell, signal?: AbortSignal): Promise<ExitStatus> {
    return this.#handleEnds.wait(of, () => of.untilExit(), signal);
  }

  /**
   * Runs a call that lists or reads kept output. Only a few run at a time, since each result may be large. An abort
   * ends the wait for a turn.
   */
  listing<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#listings.run(call, signal);
  }

  /** Runs a call. The actor stays awake until the call is answered and while anything that it started runs. */
  async run<T>(call: () => Promise<T>): Promise<T> {
    this.#calls++;
    this.#hold();
    try {
      return await call();
    } finally {
      this.#calls--;
      this.#settle();
    }
  }

  positions(): Positions {
    return {
      incarnation: this.incarnation,
      processes: this.#processes.positions(),
      shells: this.#shells.positions(),
    };
  }

  /** Ends the VM. */
  async stop(reason: "sleep" | "destroy"): Promise<void> {
    this.#stopped = true;
    const vm = await this.running();
    this.#vm = undefined;
    if (vm) {
      await vm.dispose();
      this.#send("vmShutdown", { reason });
    }
    this.#settle();
  }

  /** Writes a line to the server's log. */
  warn(what: string, error: unknown): void {
    this.#actor.log.warn({ msg: `agent-vm: ${what}`, error: String(error) });
  }

  #send<K extends keyof AgentOsEvents>(name: K, event: AgentOsEvents[K]): void {
    try {
      this.#actor.broadcast(name, event);
    } catch (error) {
      // While the actor stops, no client can receive events; that must not make the VM fail.
      if (isRivetErrorCode(error, "actor", "stopping")) return;
      this.warn(`an event ${name} could not be sent`, error);
    }
  }

  /** A single promise keeps the actor awake for everything that runs, because rivetkit counts promises. */
  #hold(): void {
    if (this.#letSleep || this.#stopped) return;
    const busy = new Promise<void>((resolve) => (this.#letSleep = resolve));
    try {
      void this.#actor.keepAwake(busy);
    } catch (error) {
      // The actor is stopping, so keeping it awake no longer matters; the error must not reach the VM's listeners.
      this.warn("the actor cannot be held awake", error);
    }
  }

  #settle(): void {
    if (this.#busy()) return this.#hold();
    // An exit event is emitted before the VM's count of what runs has fallen: check again.
    setImmediate(() => {
      if (this.#busy()) return this.#hold();
      this.#letSleep?.();
      this.#letSleep = undefined;
    });
  }

  #busy(): boolean {
    const open = this.files.size + this.archives.size + this.watches.size;
    return !this.#stopped && (this.#calls > 0 || open > 0 || (this.#vm?.activeCount ?? 0) > 0);
  }
}

/** Splits the event into parts of EVENT_BYTES. If the text is UTF-8, no part ends within a character. */
function* inParts<E extends { data: Uint8Array; seq: number }>(event: E): Generator<E> {
  const { data } = event;
  for (let at = 0; at < data.byteLength;) {
    let end = Math.min(at + EVENT_BYTES, data.byteLength);
    if (end < data.byteLength) {
      let start = end;
      while (start > end - 3 && ((data[start] ?? 0) & 0xc0) === 0x80) start--;
      if (((data[start] ?? 0) & 0xc0) === 0xc0) end = start;
    }
    yield { ...event, data: data.subarray(at, end), seq: event.seq + at };
    at = end;
  }
}
