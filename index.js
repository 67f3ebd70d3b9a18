"use strict";
// The public surface: checks arguments, keeps promises, emits events. All else happens in the addon.

const { EventEmitter } = require("node:events");
const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const timers = require("node:timers");

const check = require("./lib/arguments");
const diagnostics = require("./lib/diagnostics");
const { AgentVmError, fromNative, invalid, disposed, aborted } = require("./lib/error");
const fetching = require("./lib/fetch");
const { requirePossible } = require("./lib/levels");
const { NativeVm, endTurn, init, log } = require("./lib/native");
const { MISSING, missingError, needsOf } = require("./lib/software");

// Where a number has two names, the first is the usual one: SIGABRT, not SIGIOT.
const signalNames = new Map(
  Object.entries(os.constants.signals)
    .reverse()
    .map(([name, number]) => [number, name]),
);
const constructing = Symbol("AgentVm.create");

/** VMs with something running or pending: neither garbage nor a reason for Node.js to end. */
const busy = new Set();
let keepAlive;

function hold(vm) {
  busy.add(vm);
  // A timer that never matters: 2^31 - 1 ms is the longest there is.
  keepAlive ??= timers.setInterval(() => {}, 0x7fffffff);
  keepAlive.ref();
}

function release(vm) {
  busy.delete(vm);
  if (busy.size === 0) keepAlive?.unref();
}

/** Exited processes whose callbacks are kept for what their children still write; as many as are remembered. */
const EXITED = 1024;

/** Messages that the next of their kind may wait for. */
const OUTPUT = new Set(["execOutput", "processOutput", "shellData"]);
let turning = false;

/** Tells the addon when this turn of the event loop is over: a slow listener must not keep the loop from all else. */
function followTurn() {
  if (turning) return;
  turning = true;
  timers.setImmediate(() => {
    turning = false;
    endTurn();
  });
}

class AgentVm extends EventEmitter {
  #native;
  #isolation;
  #enforcement;
  #gone = false;
  #nextCall = 1;
  #pending = new Map();
  #execs = 0;
  #running = 0;
  #outputs = new Map();
  #exited = [];
  #sockets = new Set();
  #terminalEnv = [];
  #disposal;
  #onEnd;

  constructor(token, isolation) {
    super();
    if (token !== constructing) throw invalid("An AgentVm is made with `await AgentVm.create()`, not with `new`");
    this.#isolation = isolation;
    // The addon outlives an object that nobody holds only until the garbage collector sees it.
    const self = new WeakRef(this);
    this.#native = new NativeVm((kind, ...values) => {
      if (OUTPUT.has(kind)) followTurn();
      const vm = self.deref();
      if (vm === undefined) return;
      try {
        vm.#on(kind, values);
      } catch (error) {
        // A listener threw: what any emitter does then, without losing what comes next.
        process.nextTick(() => {
          throw error;
        });
      }
    });
  }

  static async create(options) {
    return diagnostics.observe(
      "boot",
      {},
      () => AgentVm.#create(options),
      (vm) => ({ vm }),
    );
  }

  static async #create(options) {
    const checked = check.members("options", options, check.create);
    refuseUnheld(checked);
    requirePossible(checked);
    const { commands, ...shown } = await needsOf(checked.software ?? []);
    const vm = new AgentVm(constructing, checked.isolation ?? "namespaces");
    if (!checked.env?.some(([name]) => name === "TERM")) vm.#terminalEnv = [["TERM", "xterm-256color"]];
    try {
      vm.#enforcement = Object.freeze(JSON.parse(await vm.#ask("boot", createOptions(checked, shown))));
    } catch (error) {
      vm.#gone = true;
      throw error;
    }
    try {
      await vm.#requirePrograms(commands);
    } catch (error) {
      await vm.dispose();
      throw error;
    }
    return vm;
  }

  async #requirePrograms(commands) {
    if (commands.size === 0) return;
    const { stdout } = await this.#exec("/bin/sh", ["-c", MISSING, "sh", ...commands.keys()], undefined);
    if (stdout !== "") throw missingError(stdout.trimEnd().split("\n"), commands);
  }

  static async doctor() {
    const vm = new AgentVm(constructing, "namespaces");
    const diagnosis = JSON.parse(await vm.#ask("doctor", createOptions({})));
    vm.#gone = true;
    return diagnosis;
  }

  // ---- one-shot

  async exec(command, options) {
    return this.#observedExec("/bin/sh", ["-c", check.text("command", command)], options);
  }

  async execFile(file, args, options) {
    return this.#observedExec(check.program("file", file), check.texts("args", args), options);
  }

  #observedExec(file, args, options) {
    return diagnostics.observe(
      "exec",
      { vm: this, file, args },
      () => this.#exec(file, args, options),
      ({ exitCode, signal, reason, usage }) => ({ exitCode, signal, reason, usage }),
    );
  }

  async #exec(file, args, options) {
    const { stdin, signal, onStdout, onStderr, ...rest } = check.members("options", options, check.exec);
    this.#require();
    if (signal?.aborted) throw aborted();
    const message = JSON.stringify({ ...rest, file, args, streams: Boolean(onStdout || onStderr) });
    const callbacks = { stdout: onStdout, stderr: onStderr };
    const { call, promise } = this.#start("exec", { callbacks }, message, stdin, signal !== undefined);
    const abort = () => this.#native?.abort(call);
    signal?.addEventListener("abort", abort, { once: true });
    this.#execs++;
    try {
      return execResult(await promise);
    } finally {
      this.#execs--;
      if (signal) {
        signal.removeEventListener("abort", abort);
        this.#native?.forget(call);
      }
    }
  }

  // ---- long-running

  async spawn(command, args, options) {
    const file = check.program("command", command);
    const words = check.texts("args", args);
    const { stdin, signal, onStdout, onStderr, ...rest } = check.members("options", options, check.run);
    this.#require();
    if (signal?.aborted) throw aborted();
    const told = diagnostics.begin("spawn", { vm: this, file, args: words });
    const onValue = (pid) => {
      const output = { stdout: onStdout, stderr: onStderr, release: () => {}, told };
      if (signal) {
        const abort = () => this.#ask("killProcess", pid).catch(() => {});
        output.release = () => signal.removeEventListener("abort", abort);
        if (signal.aborted) abort();
        else signal.addEventListener("abort", abort, { once: true });
      }
      this.#outputs.set(pid, output);
      this.#running++;
    };
    const message = JSON.stringify({ ...rest, file, args: words });
    try {
      return { pid: await this.#start("spawn", { onValue }, message, stdin).promise };
    } catch (error) {
      told?.({ error });
      throw error;
    }
  }

  async writeProcessStdin(pid, data) {
    const checked = [check.pid("pid", pid), check.data("data", data)];
    this.#require();
    await this.#ask("writeProcessStdin", ...checked);
  }

  async closeProcessStdin(pid) {
    await this.#about("closeProcessStdin", pid);
  }

  async waitProcess(pid) {
    return this.#about("waitProcess", pid);
  }

  async listProcesses() {
    this.#require();
    return JSON.parse(await this.#ask("listProcesses"));
  }

  async getProcess(pid) {
    return JSON.parse(await this.#about("getProcess", pid));
  }

  async stopProcess(pid) {
    await this.#about("signalProcess", pid, os.constants.signals.SIGTERM);
  }

  async killProcess(pid) {
    await this.#about("killProcess", pid);
  }

  async signalProcess(pid, signal) {
    check.pid("pid", pid);
    await this.#about("signalProcess", pid, check.signal("signal", signal));
  }

  async readProcessOutput(pid, options) {
    check.pid("pid", pid);
    const { after = 0 } = check.members("options", options, check.after);
    const [chunks, nextSeq, truncatedBytes, status] = await this.#about("readProcessOutput", pid, after);
    return {
      chunks: chunks.map(([stream, data, seq]) => ({ pid, stream, data, seq })),
      nextSeq,
      truncatedBytes,
      exited: status ? exitStatus(status) : null,
    };
  }

  // ---- everything in the VM

  async allProcesses() {
    this.#require();
    return JSON.parse(await this.#ask("allProcesses"));
  }

  async processTree() {
    const nodes = new Map((await this.allProcesses()).map((process) => [process.pid, { ...process, children: [] }]));
    const roots = [];
    for (const node of nodes.values()) (nodes.get(node.ppid)?.children ?? roots).push(node);
    return roots;
  }

  async stats() {
    const processes = await this.allProcesses();
    const sum = (member) => processes.reduce((total, process) => total + process[member], 0);
    const [bytesIn, bytesOut] = await this.#ask("traffic");
    return { processes: processes.length, cpuMs: sum("cpuMs"), memoryBytes: sum("rssBytes"), bytesIn, bytesOut };
  }

  // ---- shells

  async openShell(options) {
    const checked = check.members("options", options, check.shell);
    this.#require();
    if (checked.command !== undefined) return this.#openShell(checked);
    try {
      return await this.#openShell({ ...checked, command: "bash" });
    } catch (error) {
      if (error.code !== "ENOENT" || error.path !== "bash") throw error;
      const env = [["SHELL", "/bin/sh"], ...(checked.env ?? [])];
      return this.#openShell({ ...checked, command: "sh", env });
    }
  }

  async #openShell({ command, env = [], ...rest }) {
    const message = JSON.stringify({ args: [], ...rest, file: command, env: [...this.#terminalEnv, ...env] });
    const onValue = () => this.#running++;
    return { shellId: await this.#start("openShell", { onValue }, message).promise };
  }

  async writeShell(shellId, data) {
    const checked = [check.shellId("shellId", shellId), check.data("data", data)];
    this.#require();
    await this.#ask("writeShell", ...checked);
  }

  async resizeShell(shellId, cols, rows) {
    const checked = [check.shellId("shellId", shellId), check.size("cols", cols), check.size("rows", rows)];
    this.#require();
    await this.#ask("resizeShell", ...checked);
  }

  async closeShell(shellId) {
    await this.#aboutShell("closeShell", shellId);
  }

  async waitShell(shellId) {
    return this.#aboutShell("waitShell", shellId);
  }

  async listShells() {
    this.#require();
    return JSON.parse(await this.#ask("listShells"));
  }

  async readShell(shellId, options) {
    check.shellId("shellId", shellId);
    const { after = 0 } = check.members("options", options, check.after);
    const [chunks, nextSeq, truncatedBytes, status] = await this.#aboutShell("readShell", shellId, after);
    const data = chunks.length === 1 ? chunks[0][1] : Buffer.concat(chunks.map(([, bytes]) => bytes));
    return { data, nextSeq, truncatedBytes, exited: status ? exitStatus(status) : null };
  }

  // ---- files

  async readFile(path) {
    return this.#atPath("readFile", path);
  }

  async writeFile(path, content) {
    check.path("path", path);
    await this.#atPath("writeFile", path, check.data("content", content));
  }

  async readFiles(paths) {
    check.paths("paths", paths);
    this.#require();
    return each(paths, async (path) => {
      try {
        return { path, content: await this.#ask("readFile", path) };
      } catch (error) {
        return { path, content: null, error: error.message };
      }
    });
  }

  async writeFiles(entries) {
    const checked = check.files("entries", entries);
    this.#require();
    return each(checked, async ({ path, content }) => {
      try {
        await this.#ask("writeFile", path, content);
        return { path, success: true };
      } catch (error) {
        return { path, success: false, error: error.message };
      }
    });
  }

  async mkdir(path, options) {
    check.path("path", path);
    const { recursive = false } = check.members("options", options, check.recursive);
    await this.#atPath("mkdir", path, recursive);
  }

  async readdir(path) {
    return JSON.parse(await this.#atPath("readdir", path));
  }

  async readdirRecursive(path, options) {
    check.path("path", path);
    const { maxDepth, exclude = [] } = check.members("options", options, check.walk);
    return JSON.parse(await this.#atPath("readdirRecursive", path, maxDepth, exclude));
  }

  async stat(path) {
    return JSON.parse(await this.#atPath("stat", path));
  }

  async exists(path) {
    return this.#atPath("exists", path);
  }

  async move(from, to) {
    check.path("from", from);
    check.path("to", to);
    this.#require();
    try {
      await this.#ask("rename", from, to);
    } catch (error) {
      if (error.code !== "EXDEV") throw error;
      // Between mounts there is no renaming: the VM's own mv copies, then deletes, and keeps what a copy can keep.
      const moved = await this.#exec("mv", ["-f", "-T", "--", from, to], undefined);
      if (moved.exitCode !== 0) throw new AgentVmError("EXDEV", moved.stderr.trim(), { ...error, path: from });
    }
  }

  async delete(path, options) {
    check.path("path", path);
    const { recursive = false } = check.members("options", options, check.recursive);
    await this.#atPath("remove", path, recursive);
  }

  // ---- network into the VM

  async connect(port) {
    check.port("port", port);
    this.#require();
    return this.#connect(port);
  }

  async fetch(port, request, init) {
    check.port("port", port);
    const asked = fetching.requestOf(port, request, init);
    this.#require();
    return fetching.fetch(
      asked,
      () => this.#connect(port),
      (error) => this.#explain(error, port),
    );
  }

  async #connect(port) {
    const fd = await this.#ask("connect", port);
    let socket;
    try {
      if (this.#gone) throw disposed();
      socket = new net.Socket({ fd, readable: true, writable: true });
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
    const sockets = this.#sockets;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    return socket;
  }

  /** What went wrong on a connection: the VM may have gone, and then that is the reason. */
  async #explain(error, port) {
    if (error instanceof AgentVmError) return error;
    // Init is asked, for its end may not be known yet: what listened has gone with it, and been heard of first.
    const gone =
      this.#gone ||
      !(await this.#ask("exists", "/").then(
        () => true,
        () => false,
      ));
    return gone ? disposed() : fetching.failure(error, port);
  }

  #closeSockets() {
    for (const socket of this.#sockets) socket.destroy();
  }

  // ---- lifetime

  get activeCount() {
    return this.#running + this.#execs;
  }

  get isolation() {
    return this.#isolation;
  }

  get enforcement() {
    return this.#enforcement;
  }

  dispose() {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose() {
    if (this.#gone) return;
    this.#gone = true;
    this.#closeSockets();
    const ended = new Promise((resolve) => {
      this.#onEnd = resolve;
    });
    try {
      await this.#ask("dispose");
    } catch (error) {
      if (error.code !== "VM_DISPOSED") throw error;
      // It died just now; its last events are on their way.
      hold(this);
      await ended;
      this.#releaseIfIdle();
    }
  }

  async [Symbol.asyncDispose]() {
    await this.dispose();
  }

  // ---- calls and what comes back

  #require() {
    if (this.#gone) throw disposed();
  }

  #about(method, pid, ...rest) {
    check.pid("pid", pid);
    this.#require();
    return this.#ask(method, pid, ...rest);
  }

  #aboutShell(method, shellId, ...rest) {
    check.shellId("shellId", shellId);
    this.#require();
    return this.#ask(method, shellId, ...rest);
  }

  #atPath(method, path, ...rest) {
    check.path("path", path);
    this.#require();
    return this.#ask(method, path, ...rest);
  }

  #ask(method, ...values) {
    return this.#start(method, undefined, ...values).promise;
  }

  /**
   * Calls the addon. `hooks.onValue` is called with the result before any event that follows it; `hooks.callbacks` take
   * the output of an exec.
   */
  #start(method, hooks, ...values) {
    const call = this.#nextCall++;
    const promise = new Promise((resolve, reject) => {
      const answer = this.#native[method](call, ...values);
      if (answer) {
        const [error, value] = answer;
        if (error) reject(fromNative(error));
        else resolve(value);
        return;
      }
      if (this.#pending.size === 0) hold(this);
      this.#pending.set(call, { resolve, reject, ...hooks });
    });
    return { call, promise };
  }

  #releaseIfIdle() {
    if (this.#pending.size === 0 && this.#running === 0) release(this);
  }

  #on(kind, values) {
    switch (kind) {
      case "settled":
        return this.#settled(...values);
      case "execOutput": {
        const [call, stream, data] = values;
        return this.#pending.get(call)?.callbacks[stream]?.(data);
      }
      case "processOutput": {
        const [pid, stream, data, seq] = values;
        try {
          this.#outputs.get(pid)?.[stream]?.(data);
        } finally {
          this.emit("processOutput", { pid, stream, data, seq });
        }
        return;
      }
      case "processExit":
        return this.#processExited(...values);
      case "shellData": {
        const [shellId, data, seq] = values;
        this.emit("shellData", { shellId, data, seq });
        return;
      }
      case "shellExit": {
        const [shellId, status] = values;
        this.#ended();
        this.emit("shellExit", { shellId, ...exitStatus(status) });
        return;
      }
      case "networkDenied": {
        const [host, port, reason] = values;
        this.emit("networkDenied", { host, port, reason });
        return;
      }
      case "exit": {
        this.#gone = true;
        this.#closeSockets();
        this.#onEnd?.();
        this.emit("exit", { reason: values[0] ? "disposed" : "died" });
        return;
      }
    }
  }

  #settled(call, error, value) {
    const pending = this.#pending.get(call);
    if (pending === undefined) return;
    this.#pending.delete(call);
    if (error) {
      pending.reject(fromNative(error));
    } else {
      pending.onValue?.(value);
      pending.resolve(value);
    }
    this.#releaseIfIdle();
  }

  #processExited(pid, status) {
    const { release, told } = this.#outputs.get(pid) ?? {};
    release?.();
    this.#exited.push(pid);
    if (this.#exited.length > EXITED) {
      const oldest = this.#exited.shift();
      // The number may be a running process's by now.
      if (!this.#exited.includes(oldest) && oldest !== pid) this.#outputs.delete(oldest);
    }
    this.#ended();
    const exit = exitStatus(status);
    told?.({ pid, ...exit });
    this.emit("processExit", { pid, ...exit });
  }

  #ended() {
    this.#running--;
    this.#releaseIfIdle();
  }
}

/** Files of one call that are read or written at a time. */
const FILES_AT_A_TIME = 16;

/** The results of `work` on all items, in their order. */
async function each(items, work) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(FILES_AT_A_TIME, items.length) }, worker));
  return results;
}

/** Without namespaces there is no count of the VM's processes to bound, and no file system of its own. */
function refuseUnheld({ isolation, limits = {} }) {
  if (isolation !== "none") return;
  for (const name of ["pids", "diskBytes"]) {
    if (limits[name] === undefined) continue;
    throw new AgentVmError(
      "ISOLATION_UNAVAILABLE",
      `limits.${name} cannot be enforced with isolation "none". Leave it out, or choose isolation "namespaces"`,
    );
  }
}

function createOptions(options, software = { mounts: [], bins: [] }) {
  const { rootfs, home, env = [], hostname = "agent-vm", isolation = "namespaces", limits = {} } = options;
  const { mounts = [], network = isolation === "none" ? "host" : "none" } = options;
  const asked = {
    rootfs: rootfs !== undefined,
    mounts: mounts.length > 0,
    "software that is npm packages": software.mounts.length > 0,
  };
  for (const [name, isAsked] of Object.entries(asked)) {
    if (isAsked && isolation !== "namespaces") {
      throw invalid(`${name} needs isolation "namespaces": under "${isolation}" the VM sees the host's own root`);
    }
  }
  if (isolation !== "namespaces" && typeof network === "object") {
    throw invalid(
      `network with a list needs isolation "namespaces": under "${isolation}" the VM has no loopback of its own`,
    );
  }
  if (isolation === "none" && network !== "host") {
    throw invalid('network must be "host", or left out, under isolation "none", which has no walls');
  }
  const { pids = 4096, openFiles = 4096, diskBytes = 2 ** 30, replayBytes = 2 ** 20, memoryBytes, cpus } = limits;
  return JSON.stringify({
    init,
    node: process.execPath,
    isolation,
    hostname,
    rootfs,
    home,
    mounts: [...mounts, ...software.mounts],
    bins: software.bins,
    network,
    env,
    limits: { pids, openFiles, diskBytes, replayBytes, memoryBytes, cpus },
    log,
  });
}

function exitStatus([exitCode, signal, reason, userMs, systemMs, maxRssBytes]) {
  return {
    exitCode,
    signal: signal === 0 ? null : (signalNames.get(signal) ?? `SIG${signal}`),
    reason,
    usage: { userMs, systemMs, maxRssBytes },
  };
}

function execResult([status, stdout, stderr, stdoutTruncated, stderrTruncated, timedOut, background]) {
  return {
    ...exitStatus(status),
    stdout,
    stderr,
    stdoutTruncated,
    stderrTruncated,
    timedOut,
    background: background ? JSON.parse(background) : [],
  };
}

module.exports = { AgentVm, AgentVmError };
