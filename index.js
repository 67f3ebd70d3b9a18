"use strict";
// The public surface: every call checks its arguments, then that there still is a VM, and goes on in lib/ or in the addon.

// First, to name the cause where a bundler has left what comes next behind.
require("./lib/bundled");

const { EventEmitter } = require("node:events");
const os = require("node:os");

const check = require("./lib/arguments");
const { Calls } = require("./lib/calls");
const diagnostics = require("./lib/diagnostics");
const { AgentVmError, invalid, aborted } = require("./lib/error");
const { exec } = require("./lib/exec");
const { exitStatus } = require("./lib/exit-status");
const fetching = require("./lib/fetch");
const files = require("./lib/files");
const { MessageKind } = require("./lib/native");
const { bootRequest } = require("./lib/options/boot-request");
const { checkOptions } = require("./lib/options/create");
const { needsOf, requireCommands } = require("./lib/options/software");
const { claim } = require("./lib/options/writable");
const { Ports } = require("./lib/ports");
const { Processes } = require("./lib/processes");
const { Shells } = require("./lib/shells");

const { ProcessOutput, ProcessExit, ShellData, ShellExit, NetworkDenied, Exit } = MessageKind;

const constructing = Symbol("AgentVm.create");

/** What makes sh run `command`. One that begins as an option does is still a command. */
function shellArguments(command) {
  return /^[-+]/.test(command) ? ["-c", "--", command] : ["-c", command];
}

class AgentVm extends EventEmitter {
  #calls;
  #processes;
  #shells;
  #ports;
  #isolation;
  #enforcement;
  #disposal;
  /** Gives back what the VM has claimed of the host. */
  #unclaim = () => {};

  constructor(token, { isolation = "namespaces", env = [] } = { __proto__: null }) {
    super();
    if (token !== constructing) throw invalid("An AgentVm is made with `await AgentVm.create()`, not with `new`");
    // As many listeners as a server has use for are no leak.
    this.setMaxListeners(0);
    this.#isolation = isolation;
    this.#calls = new Calls((kind, values) => this.#on(kind, values));
    this.#processes = new Processes(this.#calls);
    this.#shells = new Shells(this.#calls, env);
    this.#ports = new Ports(this.#calls);
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
    const checked = checkOptions(options);
    const { commands, ...shown } = await needsOf(checked.software ?? []);
    const vm = new AgentVm(constructing, checked);
    try {
      vm.#unclaim = await claim(vm, checked, shown.mounts);
      vm.#enforcement = Object.freeze(JSON.parse(await vm.#calls.ask("boot", bootRequest(checked, shown))));
    } catch (error) {
      vm.#calls.gone = true;
      vm.#unclaim();
      throw error;
    }
    try {
      await requireCommands(commands, (file, args) => exec(vm.#calls, file, args));
    } catch (error) {
      await vm.dispose();
      throw error;
    }
    return vm;
  }

  static async doctor() {
    return JSON.parse(await new Calls(() => {}).ask("doctor", bootRequest({ __proto__: null })));
  }

  // ---- one-shot

  async exec(command, options) {
    return this.#exec("/bin/sh", shellArguments(check.text("command", command)), options);
  }

  async execFile(file, args, options) {
    return this.#exec(check.program("file", file), check.texts("args", args), options);
  }

  #exec(file, args, options) {
    return diagnostics.observe(
      "exec",
      { vm: this, file, args },
      () => exec(this.#calls, file, args, options),
      ({ exitCode, signal, reason, usage }) => ({ exitCode, signal, reason, usage }),
    );
  }

  // ---- long-running

  async spawn(command, args, options) {
    const program = check.program("command", command);
    const programArgs = check.texts("args", args);
    const checked = check.members("options", options, check.run);
    this.#calls.requireVm();
    if (checked.signal?.aborted) throw aborted(checked.signal);
    const told = diagnostics.begin("spawn", { vm: this, file: program, args: programArgs });
    return { pid: await this.#processes.spawn(program, programArgs, checked, told) };
  }

  async writeProcessStdin(pid, data) {
    check.pid("pid", pid);
    await this.#ask("writeProcessStdin", pid, check.data("data", data));
  }

  async closeProcessStdin(pid) {
    await this.#about("closeProcessStdin", pid);
  }

  async waitProcess(pid) {
    return (await this.waitProcessExit(pid)).exitCode;
  }

  async waitProcessExit(pid) {
    return exitStatus(await this.#about("waitProcess", pid));
  }

  async listProcesses() {
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
    const [chunks, nextSeq, truncatedBytes, status, outputCut] = await this.#about("readProcessOutput", pid, after);
    return {
      chunks: chunks.map(([stream, data, seq]) => ({ pid, stream, data, seq })),
      nextSeq,
      truncatedBytes,
      exited: status ? exitStatus(status) : null,
      outputCut,
    };
  }

  // ---- everything in the VM

  async allProcesses() {
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
    const [bytesIn, bytesOut, outputsCut] = await this.#ask("ioStats");
    return {
      processes: processes.length,
      cpuMs: sum("cpuMs"),
      memoryBytes: sum("rssBytes"),
      bytesIn,
      bytesOut,
      ...(outputsCut > 0 && { outputsCut }),
    };
  }

  // ---- shells

  async openShell(options) {
    const checked = check.members("options", options, check.shell);
    this.#calls.requireVm();
    return { shellId: await this.#shells.open(checked) };
  }

  async writeShell(shellId, data) {
    check.shellId("shellId", shellId);
    await this.#ask("writeShell", shellId, check.data("data", data));
  }

  async resizeShell(shellId, cols, rows) {
    check.shellId("shellId", shellId);
    await this.#ask("resizeShell", shellId, check.size("cols", cols), check.size("rows", rows));
  }

  async closeShell(shellId) {
    await this.#aboutShell("closeShell", shellId);
  }

  async waitShell(shellId) {
    return (await this.waitShellExit(shellId)).exitCode;
  }

  async waitShellExit(shellId) {
    return exitStatus(await this.#aboutShell("waitShell", shellId));
  }

  async listShells() {
    return JSON.parse(await this.#ask("listShells"));
  }

  async readShell(shellId, options) {
    check.shellId("shellId", shellId);
    const { after = 0 } = check.members("options", options, check.after);
    const [chunks, nextSeq, truncatedBytes, status, outputCut] = await this.#aboutShell("readShell", shellId, after);
    const data = chunks.length === 1 ? chunks[0][1] : Buffer.concat(chunks.map(([, bytes]) => bytes));
    return { data, nextSeq, truncatedBytes, exited: status ? exitStatus(status) : null, outputCut };
  }

  // ---- files

  async readFile(path, options) {
    check.path("path", path);
    const { maxBytes } = check.members("options", options, check.read);
    return this.#atPath("readFile", path, maxBytes);
  }

  async writeFile(path, content) {
    check.path("path", path);
    await this.#atPath("writeFile", path, check.data("content", content));
  }

  async readFiles(paths, options) {
    check.paths("paths", paths);
    const { maxBytes } = check.members("options", options, check.read);
    this.#calls.requireVm();
    return files.readFiles(this.#calls, paths, maxBytes);
  }

  async writeFiles(entries) {
    const checked = check.files("entries", entries);
    this.#calls.requireVm();
    return files.writeFiles(this.#calls, checked);
  }

  async mkdir(path, options) {
    check.path("path", path);
    const { recursive = false } = check.members("options", options, check.recursive);
    await this.#atPath("mkdir", path, recursive);
  }

  async readdir(path) {
    check.path("path", path);
    this.#calls.requireVm();
    return this.#calls.list("readdir", path);
  }

  async readdirRecursive(path, options) {
    check.path("path", path);
    const { maxDepth, exclude = [] } = check.members("options", options, check.walk);
    this.#calls.requireVm();
    return this.#calls.list("readdirRecursive", path, maxDepth, exclude);
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
    this.#calls.requireVm();
    await files.move(this.#calls, from, to);
  }

  async delete(path, options) {
    check.path("path", path);
    const { recursive = false } = check.members("options", options, check.recursive);
    await this.#atPath("remove", path, recursive);
  }

  // ---- network into the VM

  async connect(port) {
    check.port("port", port);
    this.#calls.requireVm();
    return this.#ports.connect(port);
  }

  async fetch(port, request, init) {
    check.port("port", port);
    const asked = fetching.requestOf(port, request, init);
    this.#calls.requireVm();
    return fetching.fetch(asked, this.#ports);
  }

  // ---- lifetime

  get activeCount() {
    return this.#calls.active;
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
    this.#ports.close();
    await this.#calls.dispose();
  }

  async [Symbol.asyncDispose]() {
    await this.dispose();
  }

  // ---- calls and what comes back

  #ask(method, ...values) {
    this.#calls.requireVm();
    return this.#calls.ask(method, ...values);
  }

  #about(method, pid, ...rest) {
    check.pid("pid", pid);
    return this.#ask(method, pid, ...rest);
  }

  #aboutShell(method, shellId, ...rest) {
    check.shellId("shellId", shellId);
    return this.#ask(method, shellId, ...rest);
  }

  #atPath(method, path, ...rest) {
    check.path("path", path);
    return this.#ask(method, path, ...rest);
  }

  #on(kind, values) {
    switch (kind) {
      case ProcessOutput: {
        const [pid, isStderr, data, seq] = values;
        const stream = isStderr ? "stderr" : "stdout";
        try {
          this.#processes.onOutput(pid, stream, data);
        } finally {
          this.#processes.inContextOf(pid, () => this.emit("processOutput", { pid, stream, data, seq }));
        }
        return;
      }
      case ProcessExit: {
        const [pid, status] = values;
        this.#processes.onExit(pid, status, (exit) => this.emit("processExit", { pid, ...exit }));
        return;
      }
      case ShellData: {
        const [shellId, data, seq] = values;
        this.#shells.inContextOf(shellId, () => this.emit("shellData", { shellId, data, seq }));
        return;
      }
      case ShellExit: {
        const [shellId, status] = values;
        this.#shells.onExit(shellId, () => this.emit("shellExit", { shellId, ...exitStatus(status) }));
        return;
      }
      case NetworkDenied: {
        const [host, port, reason] = values;
        this.emit("networkDenied", { host, port, reason });
        return;
      }
      case Exit: {
        this.#ports.close();
        this.#unclaim();
        this.emit("exit", { reason: values[0] ? "disposed" : "died" });
        return;
      }
    }
  }
}

module.exports = { AgentVm, AgentVmError };
