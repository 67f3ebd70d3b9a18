"use strict";
// The public API: each call checks its arguments and that the VM has not ended, then continues in lib/ or in the
// addon.

// Loaded first: if a bundler left out the files required below, this reports the cause.
require("./lib/bundled");

const os = require("node:os");

const archives = require("./lib/archives");
const check = require("./lib/arguments");
const { withArity } = require("./lib/arity");
const { Calls } = require("./lib/calls");
const { contextInfo, contextOf, execInContext } = require("./lib/contexts");
const defaults = require("./lib/defaults");
const diagnostics = require("./lib/diagnostics");
const { AgentVmError, invalid, aborted, disposed } = require("./lib/error");
const { emitEvent } = require("./lib/events");
const { requireSuccess } = require("./lib/command-failed");
const { exec, execText } = require("./lib/exec");
const { FollowedEmitter, listenersChanged } = require("./lib/followed-emitter");
const fetching = require("./lib/fetch");
const checkFile = require("./lib/file-arguments");
const fileStreams = require("./lib/file-streams");
const files = require("./lib/files");
const { VmProcess, VmShell } = require("./lib/handles");
const { withShown } = require("./lib/host-path");
const { MessageKind } = require("./lib/native");
const { bootRequest } = require("./lib/options/boot-request");
const { checkOptions } = require("./lib/options/create");
const { serverNode } = require("./lib/options/server-node");
const { needsOf, requireCommands } = require("./lib/options/software");
const { claim } = require("./lib/options/writable");
const { Ports } = require("./lib/ports");
const { treesOf } = require("./lib/process-table");
const { Processes } = require("./lib/processes");
const { readScreen, waitForScreen } = require("./lib/screen");
const { Shells } = require("./lib/shells");
const snapshots = require("./lib/snapshots");
const { Stats } = require("./lib/stats");
const trees = require("./lib/trees");
const watches = require("./lib/watches");
const { OutputWaits } = require("./lib/wait-for-output");
const { exitStatus, processReplay, shellReplay } = require("./lib/wire");

/** @import { AgentVm as Contract, AgentVmEvents } from "./index" */
/** @import { Event, Method, ValuesOf } from "./lib/wire" */

const constructing = Symbol("AgentVm.create");

/**
 * The arguments that make sh run `command`, even if it begins with a hyphen like an option.
 * @param {string} command
 */
function shellArguments(command) {
  return /^[-+]/.test(command) ? ["-c", "--", command] : ["-c", command];
}

/**
 * @extends {FollowedEmitter<AgentVmEvents>}
 * @implements {Contract}
 */
class AgentVm extends FollowedEmitter {
  #calls;
  #processes;
  #shells;
  #ports;
  #outputWaits;
  #stats;
  #isolation;
  /** @type {import("./index").AgentVm["enforcement"] | undefined} */
  #enforcement;
  /** @type {Promise<void> | undefined} */
  #disposal;
  #followsPorts = false;
  #followsShells = false;
  /** Releases what the VM has reserved on the host. */
  #unclaim = () => {};
  #options;
  /**
   * Does `work` with the boot request for a VM like this one.
   * @type {import("./lib/snapshots").WithRequest}
   */
  #withRequest = () => Promise.reject(disposed());

  /** @type {(typeof Contract)["snapshots"]} */
  static snapshots = Object.freeze({
    list: async () => snapshots.list(new Calls(() => {})),
    remove: async (snapshot) => snapshots.remove(new Calls(() => {}), snapshot),
  });

  /**
   * @param {typeof constructing} token
   * @param {import("./lib/options/create").CheckedOptions} options
   */
  constructor(token, options = { __proto__: null }) {
    super();
    const { isolation = defaults.isolation, env = [] } = options;
    if (token !== constructing) throw invalid("An AgentVm is made with `await AgentVm.create()`, not with `new`");
    // A server may add many listeners, so Node.js must not warn of a leak.
    this.setMaxListeners(0);
    this.#options = options;
    this.#isolation = isolation;
    this.#calls = new Calls((event) => this.#on(event));
    this.#calls.onReplaced = () => this.#follow();
    this.#processes = new Processes(this.#calls);
    this.#shells = new Shells(this.#calls, env);
    this.#ports = new Ports(this.#calls);
    this.#outputWaits = new OutputWaits(this.#calls);
    this.#stats = new Stats(this.#calls, this.#ports);
    fileStreams.register(this, this.#calls);
    watches.register(this, this.#calls);
    archives.register(this, this.#calls);
  }

  /** @type {(typeof Contract)["create"]} */
  static async create(options) {
    return diagnostics.observe(
      "boot",
      {},
      () => AgentVm.#create(options),
      (vm) => ({ vm }),
    );
  }

  /** @param {unknown} options */
  static async #create(options) {
    return AgentVm.#boot(checkOptions(options));
  }

  /** @param {import("./lib/options/create").CheckedOptions} options */
  static async #boot({ from, ...options }) {
    /** @type {typeof options} */
    const checked = { ...options, __proto__: null };
    const { commands, ...shown } = await needsOf(checked.software ?? []);
    const vm = new AgentVm(constructing, checked);
    vm.#withRequest = (work) =>
      withShown(checked, async (opened) => work(bootRequest(opened, await serverNode(), shown)));
    try {
      vm.#unclaim = await claim(vm, checked, shown.mounts);
      vm.#enforcement = Object.freeze(await vm.#withRequest((request) => vm.#calls.askJson("boot", request, from)));
    } catch (error) {
      vm.#calls.gone = true;
      vm.#unclaim();
      throw error;
    }
    try {
      await requireCommands(commands, (file, args) => execText(vm.#calls, file, args));
    } catch (error) {
      await vm.dispose();
      throw error;
    }
    return vm;
  }

  /** @type {(typeof Contract)["doctor"]} */
  static async doctor() {
    return new Calls(() => {}).askJson("doctor", bootRequest({ __proto__: null }, await serverNode()));
  }

  // ---- one-shot

  /**
   * @param {string} command
   * @param {any} [options]
   * @returns {Promise<any>} With the output that `options.encoding` asks for.
   */
  async exec(command, options) {
    const text = check.text("command", command);
    if (contextOf(options) !== undefined) return this.#execInContext(text, options);
    return this.#exec("/bin/sh", shellArguments(text), options);
  }

  /**
   * @param {string} file
   * @param {string[]} [args]
   * @param {any} [options]
   * @returns {Promise<any>} In the same way.
   */
  async execFile(file, args, options) {
    return this.#exec(check.program("file", file), check.texts("args", args), options);
  }

  /**
   * @param {string} command
   * @param {unknown} options
   */
  async #execInContext(command, options) {
    const checked = check.members("options", options, check.contextExec);
    const result = await diagnostics.observe(
      "exec",
      { vm: this, file: "eval", args: [command] },
      () => execInContext(this.#calls, command, checked),
      ({ exitCode, signal, reason, usage }) => ({ exitCode, signal, reason, usage }),
    );
    return checked.check ? requireSuccess(result) : result;
  }

  /**
   * @param {string} file
   * @param {string[]} args
   * @param {unknown} options
   */
  async #exec(file, args, options) {
    const checked = check.members("options", options, check.exec);
    const result = await diagnostics.observe(
      "exec",
      { vm: this, file, args },
      () => exec(this.#calls, file, args, checked),
      ({ exitCode, signal, reason, usage }) => ({ exitCode, signal, reason, usage }),
    );
    return checked.check ? requireSuccess(result) : result;
  }

  // ---- contexts

  /** @type {Contract["createContext"]} */
  async createContext(options) {
    const { cwd, env, shell, user } = check.members("options", options, check.context);
    /** @type {import("./lib/members").Bare<import("./src/addon").ContextOptions>} */
    const request = { __proto__: null, cwd, env, shell, user };
    return { contextId: await this.#ask("createContext", request) };
  }

  /** @type {Contract["getContext"]} */
  async getContext(contextId) {
    return contextInfo(await this.#askJson("getContext", check.contextId("contextId", contextId)));
  }

  /** @type {Contract["listContexts"]} */
  async listContexts() {
    return this.#askJson("listContexts");
  }

  /** @type {Contract["resetContext"]} */
  async resetContext(contextId) {
    await this.#ask("resetContext", check.contextId("contextId", contextId));
  }

  /** @type {Contract["deleteContext"]} */
  async deleteContext(contextId) {
    await this.#ask("deleteContext", check.contextId("contextId", contextId));
  }

  // ---- long-running

  /** @type {Contract["spawn"]} */
  async spawn(command, args, options) {
    const program = check.program("command", command);
    const programArgs = check.texts("args", args);
    const checked = check.members("options", options, check.spawn);
    this.#calls.requireVm();
    if (checked.signal?.aborted) throw aborted(checked.signal);
    const told = diagnostics.begin("spawn", { vm: this, file: program, args: programArgs });
    const process = await this.#processes.spawn(program, programArgs, checked, told);
    // It has the pipes that the options ask for.
    return /** @type {any} */ (new VmProcess(process));
  }

  /** @type {Contract["writeProcessStdin"]} */
  async writeProcessStdin(pid, data) {
    await this.#ask("writeProcessStdin", check.pid("pid", pid), check.data("data", data));
  }

  /** @type {Contract["closeProcessStdin"]} */
  async closeProcessStdin(pid) {
    await this.#ask("closeProcessStdin", check.pid("pid", pid));
  }

  /** @type {Contract["waitProcess"]} */
  async waitProcess(pid) {
    return (await this.waitProcessExit(pid)).exitCode;
  }

  /** @type {Contract["waitProcessExit"]} */
  async waitProcessExit(pid) {
    return exitStatus(await this.#ask("waitProcess", check.pid("pid", pid)));
  }

  /** @type {Contract["listProcesses"]} */
  async listProcesses() {
    return this.#askJson("listProcesses");
  }

  /** @type {Contract["getProcess"]} */
  async getProcess(pid) {
    return this.#askJson("getProcess", check.pid("pid", pid));
  }

  /** @type {Contract["stopProcess"]} */
  async stopProcess(pid) {
    await this.#ask("signalProcess", check.pid("pid", pid), os.constants.signals.SIGTERM);
  }

  /** @type {Contract["killProcess"]} */
  async killProcess(pid) {
    await this.#ask("killProcess", check.pid("pid", pid));
  }

  /** @type {Contract["signalProcess"]} */
  async signalProcess(pid, signal) {
    await this.#ask("signalProcess", check.pid("pid", pid), check.signal("signal", signal));
  }

  /** @type {Contract["readProcessOutput"]} */
  async readProcessOutput(pid, options) {
    const checkedPid = check.pid("pid", pid);
    const { after = 0 } = check.members("options", options, check.after);
    return processReplay(checkedPid, await this.#ask("readProcessOutput", checkedPid, after));
  }

  /** @type {Contract["pauseProcessOutput"]} */
  async pauseProcessOutput(pid, stream) {
    for (const [output, each] of this.#outputs(pid, stream)) output.hold(this, each);
  }

  /** @type {Contract["resumeProcessOutput"]} */
  async resumeProcessOutput(pid, stream) {
    for (const [output, each] of this.#outputs(pid, stream)) output.release(this, each);
  }

  /** @type {Contract["closeProcessOutput"]} */
  async closeProcessOutput(pid, stream) {
    for (const [output, each] of this.#outputs(pid, stream)) output.closeInside(each);
  }

  /**
   * The streams that such a call names, after its checks.
   * @param {unknown} pid
   * @param {unknown} stream
   */
  #outputs(pid, stream) {
    const checkedPid = check.pid("pid", pid);
    const streams = stream === undefined ? check.streams : [check.stream("stream", stream)];
    this.#calls.requireVm();
    const { output } = this.#processes.get(checkedPid);
    return streams.map((each) => /** @type {const} */ ([output, each]));
  }

  /**
   * @param {number | string} id
   * @returns {Promise<any>} A VmProcess for a pid, a VmShell for a shell's id.
   */
  async getHandle(id) {
    const checked = typeof id === "string" ? check.shellId("id", id) : check.pid("id", id);
    this.#calls.requireVm();
    if (typeof checked === "string") return new VmShell(this.#shells.get(checked));
    return new VmProcess(this.#processes.get(checked));
  }

  // ---- everything in the VM

  /** @type {Contract["allProcesses"]} */
  async allProcesses() {
    return this.#askJson("allProcesses");
  }

  /** @type {Contract["processTree"]} */
  async processTree() {
    return treesOf(await this.allProcesses());
  }

  /** @type {Contract["stats"]} */
  async stats() {
    return this.#stats.read();
  }

  /** @type {Contract["watchStats"]} */
  watchStats(options) {
    return this.#stats.watch(options);
  }

  // ---- shells

  /** @type {Contract["openShell"]} */
  async openShell(options) {
    const checked = check.members("options", options, check.shell);
    this.#calls.requireVm();
    const told = diagnostics.begin("shell", { vm: this });
    return new VmShell(await this.#shells.open(checked, told));
  }

  /** @type {Contract["writeShell"]} */
  async writeShell(shellId, data) {
    await this.#ask("writeShell", check.shellId("shellId", shellId), check.data("data", data));
  }

  /** @type {Contract["resizeShell"]} */
  async resizeShell(shellId, cols, rows) {
    const id = check.shellId("shellId", shellId);
    await this.#ask("resizeShell", id, check.size("cols", cols), check.size("rows", rows));
  }

  /** @type {Contract["closeShell"]} */
  async closeShell(shellId) {
    await this.#ask("closeShell", check.shellId("shellId", shellId));
  }

  /** @type {Contract["waitShell"]} */
  async waitShell(shellId) {
    return (await this.waitShellExit(shellId)).exitCode;
  }

  /** @type {Contract["waitShellExit"]} */
  async waitShellExit(shellId) {
    return exitStatus(await this.#ask("waitShell", check.shellId("shellId", shellId)));
  }

  /** @type {Contract["listShells"]} */
  async listShells() {
    return this.#askJson("listShells");
  }

  /** @type {Contract["readShell"]} */
  async readShell(shellId, options) {
    const id = check.shellId("shellId", shellId);
    const { after = 0 } = check.members("options", options, check.after);
    return shellReplay(await this.#ask("readShell", id, after));
  }

  /** @type {Contract["readScreen"]} */
  async readScreen(shellId, options) {
    return readScreen(this.#calls, shellId, options);
  }

  /** @type {Contract["waitForScreen"]} */
  async waitForScreen(shellId, pattern, options) {
    return waitForScreen(this.#calls, shellId, pattern, options);
  }

  // ---- files

  /**
   * @param {string} path
   * @param {any} [options]
   * @returns {Promise<any>} In the form that `options` asks for.
   */
  async readFile(path, options) {
    const file = check.path("path", path);
    const checked = checkFile.readOptions(options);
    this.#calls.requireVm();
    return files.readFile(this.#calls, file, checked);
  }

  /** @type {Contract["writeFile"]} */
  async writeFile(path, content, options) {
    const [file, data] = [check.path("path", path), check.data("content", content)];
    const { mode, mtime } = check.members("options", options, checkFile.attributes);
    await this.#ask("writeFile", file, data, mode, mtime);
  }

  /** @type {Contract["appendFile"]} */
  async appendFile(path, content, options) {
    const [file, data] = [check.path("path", path), check.data("content", content)];
    const { mode } = check.members("options", options, checkFile.append);
    await this.#ask("appendFile", file, data, mode);
  }

  /**
   * @param {string[]} paths
   * @param {any} [options]
   * @returns {Promise<any>} In the same way.
   */
  async readFiles(paths, options) {
    const checked = check.paths("paths", paths);
    const checkedOptions = checkFile.readOptions(options);
    this.#calls.requireVm();
    return files.readFiles(this.#calls, checked, checkedOptions);
  }

  /** @type {Contract["writeFiles"]} */
  async writeFiles(entries) {
    const checked = checkFile.files("entries", entries);
    this.#calls.requireVm();
    return files.writeFiles(this.#calls, checked);
  }

  /** @type {Contract["truncate"]} */
  async truncate(path, length) {
    const file = check.path("path", path);
    await this.#ask("truncate", file, length === undefined ? 0 : checkFile.bytes("length", length));
  }

  /** @type {Contract["chmod"]} */
  async chmod(path, mode) {
    await this.#ask("chmod", check.path("path", path), checkFile.mode("mode", mode));
  }

  /** @type {Contract["utimes"]} */
  async utimes(path, atime, mtime) {
    const file = check.path("path", path);
    await this.#ask("utimes", file, checkFile.time("atime", atime), checkFile.time("mtime", mtime));
  }

  /** @type {Contract["symlink"]} */
  async symlink(target, path) {
    await this.#ask("symlink", check.text("target", target), check.path("path", path));
  }

  /** @type {Contract["readlink"]} */
  async readlink(path) {
    return this.#ask("readlink", check.path("path", path));
  }

  /** @type {Contract["realpath"]} */
  async realpath(path) {
    return this.#ask("realpath", check.path("path", path));
  }

  /** @type {Contract["mkdir"]} */
  async mkdir(path, options) {
    const directory = check.path("path", path);
    const { recursive = false } = check.members("options", options, check.recursive);
    await this.#ask("mkdir", directory, 0o777, recursive);
  }

  /** @type {Contract["mkdtemp"]} */
  async mkdtemp(prefix) {
    const checked = check.path("prefix", prefix);
    this.#calls.requireVm();
    return files.mkdtemp(this.#calls, checked);
  }

  /** @type {Contract["readdir"]} */
  async readdir(path) {
    const directory = check.path("path", path);
    this.#calls.requireVm();
    return this.#calls.list("readdir", directory);
  }

  /** @type {Contract["readdirEntries"]} */
  async readdirEntries(path) {
    const directory = check.path("path", path);
    this.#calls.requireVm();
    return files.readdirEntries(this.#calls, directory);
  }

  /** @type {Contract["readdirRecursive"]} */
  async readdirRecursive(path, options) {
    const directory = check.path("path", path);
    const { maxDepth, exclude = [] } = check.members("options", options, check.walk);
    this.#calls.requireVm();
    return this.#calls.list("readdirRecursive", directory, maxDepth, exclude);
  }

  /** @type {Contract["stat"]} */
  async stat(path) {
    return this.#askJson("stat", check.path("path", path), true);
  }

  /** @type {Contract["lstat"]} */
  async lstat(path) {
    return this.#askJson("stat", check.path("path", path), false);
  }

  /** @type {Contract["exists"]} */
  async exists(path) {
    return this.#ask("exists", check.path("path", path));
  }

  /** @type {Contract["move"]} */
  async move(from, to) {
    const [source, target] = [check.path("from", from), check.path("to", to)];
    this.#calls.requireVm();
    await files.move(this.#calls, source, target);
  }

  /** @type {Contract["copy"]} */
  async copy(from, to, options) {
    const [source, target] = [check.path("from", from), check.path("to", to)];
    const checked = check.members("options", options, checkFile.copy);
    const { recursive = false, force = true, errorOnExist = false, preserveTimestamps = false } = checked;
    /** @type {import("./lib/members").Bare<import("./src/addon").CopyOptions>} */
    const how = { __proto__: null, recursive, force, errorOnExist, preserveTimestamps };
    await this.#ask("copy", source, target, how);
  }

  /** @type {Contract["uploadDirectory"]} */
  async uploadDirectory(hostPath, path, options) {
    return trees.uploadDirectory(this.#calls, hostPath, path, options);
  }

  /** @type {Contract["downloadDirectory"]} */
  async downloadDirectory(path, hostPath, options) {
    return trees.downloadDirectory(this.#calls, path, hostPath, options);
  }

  /** @type {Contract["readArchive"]} */
  readArchive(path, options) {
    this.#calls.requireVm();
    return archives.readArchiveOf(archives.archivesOf(this), path, options);
  }

  /** @type {Contract["writeArchive"]} */
  async writeArchive(path, archive, options) {
    this.#calls.requireVm();
    return archives.writeArchiveOf(archives.archivesOf(this), path, archive, options);
  }

  /** @type {Contract["createReadStream"]} */
  createReadStream(path, options) {
    this.#calls.requireVm();
    return fileStreams.readStreamOf(fileStreams.filesOf(this), path, options);
  }

  /** @type {Contract["createWriteStream"]} */
  createWriteStream(path, options) {
    this.#calls.requireVm();
    return fileStreams.writeStreamOf(fileStreams.filesOf(this), path, options);
  }

  /** @type {Contract["watch"]} */
  watch(path, options) {
    this.#calls.requireVm();
    return watches.watch(watches.watchesOf(this), path, options);
  }

  /** @type {Contract["delete"]} */
  async delete(path, options) {
    const file = check.path("path", path);
    const { recursive = false } = check.members("options", options, check.recursive);
    await this.#ask("remove", file, recursive);
  }

  // ---- network into the VM

  /** @type {Contract["connect"]} */
  async connect(port) {
    const checked = check.port("port", port);
    this.#calls.requireVm();
    return this.#ports.connect(checked);
  }

  /** @type {Contract["fetch"]} */
  async fetch(port, request, init) {
    const asked = fetching.requestOf(check.port("port", port), request, init);
    this.#calls.requireVm();
    return fetching.fetch(asked, this.#ports);
  }

  /** @type {Contract["listPorts"]} */
  async listPorts() {
    return this.#askJson("listPorts");
  }

  /** @type {Contract["waitForPort"]} */
  async waitForPort(port, options) {
    const checked = check.port("port", port);
    const { timeout = defaults.timeout, signal } = check.members("options", options, check.waiting);
    this.#calls.requireVm();
    return this.#calls.waitJson("waitForPort", signal, checked, timeout);
  }

  /** @type {Contract["waitForOutput"]} */
  async waitForOutput(id, pattern, options) {
    const checked = typeof id === "string" ? check.shellId("id", id) : check.pid("id", id);
    const wanted = check.pattern("pattern", pattern);
    const { after = 0, timeout = defaults.timeout, signal } = check.members("options", options, check.waitingOutput);
    this.#calls.requireVm();
    const wait = { pattern: wanted, after, timeout, signal };
    if (typeof checked === "number") {
      const process = this.#processes.get(checked);
      return this.#outputWaits.wait(process, { ...wait, name: `process ${checked}`, streams: check.streams });
    }
    return this.#outputWaits.wait(this.#shells.get(checked), { ...wait, name: checked, streams: ["stdout"] });
  }

  /** @type {Contract["waitForIdle"]} */
  async waitForIdle(shellId, options) {
    const id = check.shellId("shellId", shellId);
    const { timeout = defaults.timeout, signal } = check.members("options", options, check.waiting);
    this.#calls.requireVm();
    await this.#calls.waitJson("waitForIdle", signal, id, timeout);
  }

  // ---- snapshots

  /** @type {Contract["snapshot"]} */
  async snapshot(options) {
    return snapshots.takeSnapshot(this.#calls, this.#options, this.#withRequest, options);
  }

  /** @type {Contract["rollback"]} */
  async rollback(snapshot, options) {
    await snapshots.rollBack(this.#calls, this.#options, this.#withRequest, snapshot, options);
  }

  /** @type {Contract["fork"]} */
  async fork(count) {
    const options = this.#options;
    /** @param {string} from */
    const create = (from) => AgentVm.#boot({ ...options, from, __proto__: null });
    return snapshots.fork(this.#calls, options, this.#withRequest, count, create);
  }

  // ---- lifetime

  /** @type {Contract["pause"]} */
  async pause() {
    await this.#ask("pause");
  }

  /** @type {Contract["resume"]} */
  async resume() {
    await this.#ask("resume");
  }

  get activeCount() {
    return this.#calls.active;
  }

  get isolation() {
    return this.#isolation;
  }

  get enforcement() {
    // `create` sets it before it returns the VM.
    return /** @type {import("./index").AgentVm["enforcement"]} */ (this.#enforcement);
  }

  dispose() {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose() {
    const told = diagnostics.begin("dispose", { vm: this });
    this.#ports.close();
    this.#stats.close();
    const stats = told && (await this.#stats.last());
    await this.#calls.dispose();
    told?.(stats ? { stats } : {});
  }

  async [Symbol.asyncDispose]() {
    await this.dispose();
  }

  // ---- calls, their results and events

  /**
   * @template {Method} M
   * @param {M} method
   * @param {ValuesOf<M>} values
   */
  #ask(method, ...values) {
    this.#calls.requireVm();
    return this.#calls.ask(method, ...values);
  }

  /**
   * @template {Method} M
   * @param {M} method
   * @param {ValuesOf<M>} values
   */
  #askJson(method, ...values) {
    this.#calls.requireVm();
    return this.#calls.askJson(method, ...values);
  }

  /** Asks the addon for the events that somebody listens to, where they cost something. */
  [listenersChanged]() {
    const follows = this.listenerCount("portOpened") + this.listenerCount("portClosed") > 0;
    if (follows !== this.#followsPorts) this.#calls.attempt("followPorts", (this.#followsPorts = follows));
    const waits = this.listenerCount("shellWaiting") > 0;
    if (waits !== this.#followsShells) this.#calls.attempt("followShells", (this.#followsShells = waits));
  }

  /** Asks another VM, which has taken the place of the one before, for these events. */
  #follow() {
    this.#followsPorts = this.#followsShells = false;
    this[listenersChanged]?.();
  }

  /** @param {Event} event */
  #on(event) {
    if (event[0] === MessageKind.Exit) {
      this.#ports.close();
      this.#stats.close();
      this.#unclaim();
    }
    emitEvent(this, this.#processes, this.#shells, event);
  }
}

withArity(AgentVm);

/**
 * The types of index.d.ts, except that callers cannot call the constructors.
 * @typedef {typeof import("./index")} Promised
 * @satisfies {{ [name in keyof Promised]: Pick<Promised[name], "prototype"> } & { AgentVm: Pick<Promised["AgentVm"], "create" | "doctor"> }}
 */
module.exports = { AgentVm, AgentVmError };
