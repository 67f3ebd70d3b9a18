// One start of an actor, and the VM that it has from its first use on. What happens in the VM goes out as events, and
// the actor is held awake while anything runs. It knows nothing of how calls reach it.
import { randomUUID } from "node:crypto";
import { AgentVm, type ExitStatus } from "agent-vm";
import { isRivetErrorCode } from "rivetkit/errors";
import { Gate } from "./budget.mjs";
import { failure } from "./errors.mjs";
import { homeOf } from "./home.mjs";
import { Ledger } from "./ledger.mjs";
import type { AgentOsEvents, AgentOsOptions } from "./remote.mjs";
import { Waits } from "./waits.mjs";
import type { Positions } from "./wire.mjs";

/** What a machine needs of its actor's context. */
export interface ActorSide {
  readonly actorId: string;
  broadcast(name: string, ...args: unknown[]): void;
  keepAwake<T>(promise: Promise<T>): Promise<T>;
  readonly log: { warn(entry: object): void };
}

/** Calls at a time whose results are up to some 64 MiB, which is known only when they are there. */
const LISTINGS = 4;
/** The most output in one event: base64 makes 43 KiB of it, and a message over 1 MiB would close its connections. */
const EVENT_BYTES = 32 * 1024;

export class Machine {
  /** Names this start of the actor. */
  readonly incarnation = randomUUID();
  readonly #options: AgentOsOptions;
  readonly #actor: ActorSide;
  #vm: AgentVm | undefined;
  #booting: Promise<AgentVm> | undefined;
  #calls = 0;
  #letSleep: (() => void) | undefined;
  #stopped = false;
  /** Of all VMs that this start has: one that dies leaves its exits here, for clients that were away. */
  readonly #processes = new Ledger<number>();
  readonly #shells = new Ledger<string>();
  readonly #listings = new Gate(LISTINGS);
  readonly #processEnds = new Waits<number>();
  readonly #shellEnds = new Waits<string>();

  constructor(actor: ActorSide, options: AgentOsOptions) {
    this.#actor = actor;
    this.#options = options;
  }

  /** The VM if there is one: calls about something that runs do not boot one to hear that it is not there. */
  async running(): Promise<AgentVm | undefined> {
    return this.#vm ?? (await this.#booting?.catch(() => undefined));
  }

  /** The VM, booted once however many ask; a failure to boot is every asker's, and the next one tries again. */
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
    vm.on("processOutput", (event) => {
      this.#processes.sent(event.pid, event.seq, event.data.byteLength);
      for (const part of inParts(event)) this.#send("processOutput", part);
    });
    vm.on("processExit", (event) => {
      this.#processes.ended(event.pid, event);
      this.#send("processExit", event);
      this.#settle();
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
      if (reason === "died") this.#send("vmShutdown", { reason: "error" });
      this.#settle();
    });
    this.#send("vmBooted", {});
    return vm;
  }

  /** Something was started that may not have written yet. What has ended by now has said so, and stays ended. */
  started(what: { pid: number } | { shellId: string }): void {
    if ("pid" in what) {
      this.#processes.started(what.pid);
      this.#processEnds.renewed(what.pid);
    } else this.#shells.started(what.shellId);
  }

  /** As AgentVm.waitProcessExit. A caller whose signal aborts leaves nothing with the VM. */
  waitProcess(vm: AgentVm, pid: number, signal?: AbortSignal): Promise<ExitStatus> {
    return this.#processEnds.wait(pid, () => vm.waitProcessExit(pid), signal);
  }

  /** As AgentVm.waitShellExit, in the same way. */
  waitShell(vm: AgentVm, shellId: string, signal?: AbortSignal): Promise<ExitStatus> {
    return this.#shellEnds.wait(shellId, () => vm.waitShellExit(shellId), signal);
  }

  /** Runs what lists, or reads kept output: a few at a time, for each may be large. One whose signal aborts waits no longer. */
  listing<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#listings.run(call, signal);
  }

  /** Runs a call, with the actor awake until it is answered and as long as what it started runs. */
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

  /** Takes the VM away, whole. */
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

  /** A line in the server's log. */
  warn(what: string, error: unknown): void {
    this.#actor.log.warn({ msg: `agent-vm: ${what}`, error: String(error) });
  }

  #send<K extends keyof AgentOsEvents>(name: K, event: AgentOsEvents[K]): void {
    try {
      this.#actor.broadcast(name, event);
    } catch (error) {
      // While the actor stops nobody is left to hear it; and the VM must not fall over its audience.
      if (isRivetErrorCode(error, "actor", "stopping")) return;
      this.warn(`an event ${name} could not be sent`, error);
    }
  }

  /** One promise holds the actor awake for all that runs: rivetkit counts promises, and this is the count of ours. */
  #hold(): void {
    if (this.#letSleep || this.#stopped) return;
    const busy = new Promise<void>((resolve) => (this.#letSleep = resolve));
    try {
      void this.#actor.keepAwake(busy);
    } catch (error) {
      // It is stopping already, and what holds it awake no longer matters; the VM's listeners are not to fall over it.
      this.warn("the actor cannot be held awake", error);
    }
  }

  #settle(): void {
    if (this.#busy()) return this.#hold();
    // The event of an end comes before the VM's count of what runs is known to have fallen: look once more.
    setImmediate(() => {
      if (this.#busy()) return this.#hold();
      this.#letSleep?.();
      this.#letSleep = undefined;
    });
  }

  #busy(): boolean {
    return !this.#stopped && (this.#calls > 0 || (this.#vm?.activeCount ?? 0) > 0);
  }
}

/** The event in parts of EVENT_BYTES, none of which ends inside of a UTF-8 letter where the text is UTF-8. */
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
