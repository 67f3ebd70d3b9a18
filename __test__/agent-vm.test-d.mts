// The types of agent-vm: checked by `npm run lint:types`, never run.
import { AgentVm, AgentVmError } from "agent-vm";
import type {
  AgentVmDiagnostic,
  AgentVmErrorCode,
  AgentVmOptions,
  BackgroundProcess,
  ContextExecOptions,
  ContextInfo,
  ContextOptions,
  ContextSummary,
  CreatedContext,
  DirectoryEntry,
  DoctorReport,
  DroppedOutput,
  Enforcement,
  ExecBufferOptions,
  ExecOptions,
  ExecResult,
  ExitStatus,
  FileWatcher,
  IsolationLevel,
  ListeningPort,
  Mount,
  NamedEntry,
  TransferTotals,
  NetworkAllowList,
  NetworkDeniedEvent,
  OpenedShell,
  OutputMatch,
  OutputReplay,
  ProcessCloseEvent,
  ProcessInfo,
  ProcessLine,
  ProcessOutputReplay,
  ProcessTreeNode,
  ReadFileResult,
  ResourceUsage,
  ReadScreenOptions,
  ShellInfo,
  Snapshot,
  ShellReplay,
  ShellScreen,
  Software,
  SoftwarePackage,
  SpawnedProcess,
  VmExitEvent,
  VmLimits,
  VmProcess,
  VmShell,
  VmStat,
  VmStats,
  WriteFileResult,
} from "agent-vm";
import type { Duplex, Readable, Writable } from "node:stream";

const options: AgentVmOptions = {
  rootfs: "/srv/alpine",
  mounts: [{ path: "/src", hostPath: "/srv/src", readOnly: false, protect: [".git/hooks/", ".bashrc"] }],
  directories: ["/workspace"],
  host: { etc: ["gitconfig"], hide: ["/etc/php"] },
  home: "/srv/home",
  software: [[{}], {}],
  env: { NAME: "value" },
  hostname: "box",
  network: { allow: ["*.github.com:443"] },
  limits: { memoryBytes: 2 ** 30, cpus: 0.5, pids: 64, openFiles: 64, diskBytes: 2 ** 20, replayBytes: 0 },
  isolation: "namespaces",
};
await using vm = await AgentVm.create(options);
const none: AgentVm = await AgentVm.create();
await AgentVm.create({ network: "public" });
// @ts-expect-error: a list is a member of an object
await AgentVm.create({ network: ["*"] });

// Results have the declared members.
const result: ExecResult = await vm.exec("true", {
  timeout: 1,
  maxOutputBytes: 1,
  onStdout: (data: Uint8Array) => data,
});
const status: ExitStatus = result;
const how: "exited" | "signal" | "timeout" | "oom" | "disposed" = status.reason;
const told: [string, boolean, number, NodeJS.Signals | null] = [
  result.stdout,
  result.timedOut,
  result.usage.maxRssBytes,
  result.signal,
];
const left: { pid: number; command: string }[] = result.background;
const contextOptions: ContextOptions = { cwd: "/tmp", env: { NAME: "value" }, shell: "bash" };
const { contextId }: CreatedContext = await vm.createContext(contextOptions);
const contextExec: ContextExecOptions = { contextId, timeout: 1, maxOutputBytes: 1, onStderr: () => {} };
const { contextRestarted: _restarted }: { contextRestarted?: boolean } = await vm.exec("cd /", contextExec);
// @ts-expect-error: the context has the working directory
await vm.exec("true", { contextId, cwd: "/" });
// @ts-expect-error: a program has no context
await vm.execFile("true", [], { contextId });
// @ts-expect-error: no such option
await vm.createContext({ timeout: 1 });
const info: ContextInfo = await vm.getContext(contextId);
const _running: [string | null, number | null, Record<string, string>] = [info.command, info.pid, info.env];
const _contexts: ContextSummary[] = await vm.listContexts();
await vm.resetContext(contextId).then((nothing: void) => nothing);
await vm.deleteContext(contextId).then((nothing: void) => nothing);
const { pid }: { pid: number } = await vm.spawn("node", ["server.js"], { stdin: new Uint8Array(), cwd: "/tmp" });
const code: number = await vm.waitProcess(pid);
await vm.signalProcess(pid, "SIGUSR1");
const processes: ProcessInfo[] = await vm.allProcesses();
const tree: ProcessTreeNode[] = (await vm.processTree()).flatMap(({ children }) => children);
const stat: VmStat = await vm.stat("/");
const content: Uint8Array = await vm.readFile("/etc/hosts");
const socket: Duplex = await vm.connect(3000);
const response: Response = await vm.fetch(3000, "/", { method: "POST" });
const _ids: "single" | "range" | null = (await AgentVm.create({ user: "root", ids: "single" })).enforcement.ids;
const held: Enforcement | null = vm.enforcement.memoryBytes;
const level: "namespaces" | "landlock" | "none" = (await AgentVm.doctor()).level;

const screened: VmShell = await vm.openShell({ screen: true });
const screen: ShellScreen = await vm.waitForScreen(screened.shellId, /x/, { timeout: 1 });
const screenRead: ReadScreenOptions = {
  after: screen.nextSeq,
  resizes: screen.resizes,
  signal: AbortSignal.timeout(1),
};
const { lines: _lines, exited: _exited }: ShellScreen = await vm.readScreen(screened.shellId, screenRead);
// @ts-expect-error -- a pattern is a text or an expression
await vm.waitForScreen(screened.shellId, 7);
const _ports: ListeningPort[] = await vm.listPorts();
const opened: ListeningPort = await vm.waitForPort(3000, { timeout: 1, signal: AbortSignal.timeout(1) });
const _holder: number | null = opened.pid;
vm.on("portOpened", ({ port, address, pid }): [number, string, number | null] => [port, address, pid]);
vm.on("portClosed", ({ port }): number => port);
const printed: OutputMatch = await vm.waitForOutput(pid, /ready/, { after: 1, timeout: 1 });
const _shown: [string, (string | undefined)[], number] = [printed.text, printed.groups, printed.nextSeq];
await vm.waitForOutput("shell-1", "$ ", { signal: AbortSignal.timeout(1) });
await vm.waitForIdle("shell-1", { timeout: 1 }).then((nothing: void) => nothing);
vm.on("shellWaiting", ({ shellId }): string => shellId);
// @ts-expect-error: text or an expression
await vm.waitForOutput(pid, 1);
// @ts-expect-error: no such option
await vm.waitForPort(3000, { interval: 1 });

// The output of an exec is text, or with an option bytes.
const bytes: ExecResult<Uint8Array> = await vm.exec("true", { encoding: "buffer", keepOutput: "tail", check: true });
const asked: ExecBufferOptions = { encoding: "buffer", timeout: 1 };
const ofFile: Uint8Array = (await vm.execFile("true", undefined, asked)).stdout;
const text: string = (await vm.execFile("true", [], { encoding: "utf8" })).stdout;
const missing: DroppedOutput | undefined = bytes.stdoutDropped;
const usual: ExecOptions = { maxOutputBytes: 1 };
const parameters: Parameters<AgentVm["exec"]> = ["true", usual];
const failedResult = (error: AgentVmError): number | undefined => error.result?.exitCode;
// @ts-expect-error -- text is no bytes
const wrong: ExecResult<Uint8Array> = await vm.exec("true");
// @ts-expect-error -- no such encoding
await vm.exec("true", { encoding: "latin1" });
// @ts-expect-error -- spawn gives no result that could be checked
await vm.spawn("true", [], { check: true });

await vm.exec("true", { timeout: 1, killSignal: "SIGTERM", killGrace: 1, argv0: "name", user: "root" });
// @ts-expect-error -- a signal has a name
await vm.exec("true", { killSignal: 15 });

// Handles have their streams, and are what names the program.
const child: VmProcess = await vm.spawn("sort");
const named: SpawnedProcess = child;
const ends: [Writable, Readable, Readable] = [child.stdin, child.stdout, child.stderr];
for await (const { stream, line } of child.lines()) {
  const each: [stream: "stdout" | "stderr", line: string] = [stream, line];
  void each;
}
const ended: ExitStatus = await child.exited;
await child.kill("SIGTERM");
await vm
  .spawn("sh", [], { descriptors: { 3: "output", 4: "input" } })
  .then(({ descriptors }): [Readable, Writable] => [descriptors[3], descriptors[4]]);
// @ts-expect-error -- there is no pipe 5
await vm.spawn("sh", [], { descriptors: { 3: "output" } }).then(({ descriptors }) => descriptors[5]);
// @ts-expect-error -- 2 is standard error
await vm.spawn("sh", [], { descriptors: { 2: "output" } });
// @ts-expect-error -- no such direction
await vm.spawn("sh", [], { descriptors: { 3: "pipe" } });
const taken: Snapshot = await vm.snapshot({ name: "x" });
const { id, parent, bytes: written }: { id: string; parent: string | null; bytes: number } = taken;
await vm.rollback(taken).then((nothing): void => nothing);
await vm.rollback(id, { kill: written > 0 && parent === null });
await vm.fork(3).then((forks): AgentVm[] => forks);
await AgentVm.create({ from: taken });
await AgentVm.create({ from: id });
await AgentVm.snapshots.list().then(([one]): Snapshot | undefined => one);
await AgentVm.snapshots.remove(taken);
// @ts-expect-error -- a name is text
await vm.snapshot({ name: 1 });
// @ts-expect-error -- a snapshot does not change
taken.name = "y";
await vm.pause().then((nothing): void => nothing);
await vm.resume().then((nothing): void => nothing);
await vm.getHandle(1).then(({ descriptors }): Readable | Writable | undefined => descriptors[3]);
vm.on("descriptorOutput", ({ pid, fd, data, seq }): [number, number, Uint8Array, number] => [pid, fd, data, seq]);
const ofPid: VmProcess = await vm.getHandle(child.pid);
const shell: VmShell = await vm.openShell();
const terminal: Duplex = shell.stream;
const ofShell: VmShell = await vm.getHandle(shell.shellId);
await vm.pauseProcessOutput(child.pid, "stdout");
vm.on("processClose", ({ pid }: ProcessCloseEvent): number => pid);
const line: ProcessLine = { stream: "stdout", line: "x" };
// @ts-expect-error -- a signal has a name
await child.kill(9);
// @ts-expect-error -- no such stream
await vm.closeProcessOutput(child.pid, "stdin");

// Events have the declared types.
vm.on("processOutput", ({ pid, stream, data, seq }) => {
  const event: [number, "stdout" | "stderr", Uint8Array, number] = [pid, stream, data, seq];
  return event;
});
vm.once("shellExit", ({ shellId, exitCode }): [string, number] => [shellId, exitCode]);
vm.on("exit", ({ reason }): "disposed" | "died" => reason);

// Code can branch on an error's code, also on a code that is the name of an errno.
const remedy = (error: unknown): string | undefined =>
  error instanceof AgentVmError && (error.code === "ISOLATION_UNAVAILABLE" || error.code === "EPERM")
    ? error.message
    : undefined;
const diagnostic = ({
  vm,
  durationMs,
  exitCode,
}: AgentVmDiagnostic): [AgentVm | undefined, number, number | undefined] => [vm, durationMs, exitCode];

// @ts-expect-error -- there is no constructor to call
new AgentVm();
// @ts-expect-error -- no such level
await AgentVm.create({ isolation: "docker" });
// @ts-expect-error -- a number of bytes
await AgentVm.create({ limits: { memoryBytes: "1G" } });
// @ts-expect-error -- a list of words
await vm.spawn("ls", "-l");
// @ts-expect-error -- a signal has a name
await vm.signalProcess(pid, 9);
// @ts-expect-error -- spawn keeps its output by limits.replayBytes
await vm.spawn("ls", [], { maxOutputBytes: 1 });
// @ts-expect-error -- no such event
vm.on("processStarted", () => {});
// @ts-expect-error -- it is read only
vm.activeCount = 0;

export {
  named,
  ends,
  ended,
  ofPid,
  terminal,
  ofShell,
  line,
  ofFile,
  text,
  missing,
  parameters,
  failedResult,
  wrong,
  none,
  how,
  told,
  left,
  code,
  processes,
  tree,
  stat,
  content,
  socket,
  response,
  held,
  level,
  remedy,
  diagnostic,
};

// Every shape of an option, result or event has a name.
export async function everyName(vm: AgentVm): Promise<unknown[]> {
  const code: AgentVmErrorCode = new AgentVmError().code;
  // The known codes are offered for completion, and the name of any other errno is valid too.
  const known: AgentVmErrorCode[] = ["ABORTED", "EMFILE"];
  const mount: Mount = { path: "/src", hostPath: "/srv/src" };
  const network: NetworkAllowList = { allow: ["registry.npmjs.org"] };
  const limits: VmLimits = { cpus: 1 };
  const isolation: IsolationLevel = vm.isolation;
  const commands: SoftwarePackage = { name: "tools", commands: ["sed", { name: "grep" }], aptName: "sed" };
  const software: Software[] = [commands, [{ type: "agent", packageDir: "/srv/pi", requires: ["pi"], agent: {} }]];
  const options: AgentVmOptions = { mounts: [mount], network, limits, isolation, software };
  // @ts-expect-error -- a package is an object
  options.software = ["pi"];
  const report: DoctorReport = await AgentVm.doctor();
  const stats: VmStats = await vm.stats();
  for await (const { memory, ports } of vm.watchStats({ interval: 100 })) {
    const bytes: (number | undefined)[] = [memory?.usedBytes, ports.sentBytes];
    return bytes;
  }
  const background: BackgroundProcess[] = (await vm.exec("true")).background;
  const usage: ResourceUsage = (await vm.exec("true")).usage;
  const spawned: SpawnedProcess = await vm.spawn("true");
  const opened: OpenedShell = await vm.openShell();
  const shells: ShellInfo[] = await vm.listShells();
  const replays: [ProcessOutputReplay, ShellReplay] = [
    await vm.readProcessOutput(spawned.pid),
    await vm.readShell(opened.shellId),
  ];
  const both: OutputReplay[] = replays;
  const read: ReadFileResult[] = await vm.readFiles([]);
  const written: WriteFileResult[] = await vm.writeFiles([]);
  const listed: DirectoryEntry[] = await vm.readdirRecursive("/");
  vm.on("networkDenied", (event: NetworkDeniedEvent) => event.host);
  vm.on("exit", (event: VmExitEvent) => event.reason);
  return [code, known, options, report, stats, background, usage, shells, both, read, written, listed];
}

// Bounds: of terminals, of the size of one read file, of outputs that processes left running hold open.
export async function bounds(): Promise<[boolean, boolean, number | undefined]> {
  await using vm = await AgentVm.create({ limits: { terminals: 2 } });
  await vm.readFile("/etc/hostname", { maxBytes: 100 });
  await vm.readFiles(["/etc/hostname"], { maxBytes: 100 });
  // @ts-expect-error maxBytes is a number.
  await vm.readFile("/etc/hostname", { maxBytes: "100" });
  const text: string = await vm.readFile("/etc/hostname", "utf8");
  const part: string = await vm.readFile("/etc/hostname", { encoding: "latin1", offset: 1, length: 2 });
  const bytesOfPart: Uint8Array = await vm.readFile("/etc/hostname", { encoding: "buffer", offset: 1 });
  const texts: ReadFileResult<string>[] = await vm.readFiles(["/etc/hostname"], "utf8");
  // @ts-expect-error It is no encoding.
  await vm.readFile("/etc/hostname", "utf9");
  // @ts-expect-error With an encoding it is a string.
  const wrong: Uint8Array = await vm.readFile("/etc/hostname", { encoding: "hex" });
  await vm.writeFile("/tmp/x", "x", { mode: 0o600, mtime: new Date() });
  await vm.writeFiles([{ path: "/tmp/x", content: "x", mode: "755", mtime: 1.5 }]);
  await vm.appendFile("/tmp/x", "y");
  await vm.truncate("/tmp/x");
  await vm.chmod("/tmp/x", "755");
  await vm.utimes("/tmp/x", 1.5, new Date());
  // @ts-expect-error A time is no string.
  await vm.utimes("/tmp/x", "1", "2");
  await vm.symlink("x", "/tmp/y");
  const paths: string[] = [await vm.readlink("/tmp/y"), await vm.realpath("/tmp/y"), await vm.mkdtemp("/tmp/z-")];
  const entries: NamedEntry[] = await vm.readdirEntries("/tmp");
  const { isSymbolicLink }: VmStat = await vm.lstat("/tmp/y");
  await vm.copy("/tmp/x", "/tmp/z", { recursive: true, force: false, errorOnExist: true, preserveTimestamps: true });
  const totals: TransferTotals = await vm.uploadDirectory("/src", "/tmp", {
    exclude: ["x"],
    onProgress: (t) => t.files,
  });
  void [totals.bytes, vm.downloadDirectory("/tmp", "out", { maxBytes: 1, maxEntries: 2, signal: AbortSignal.abort() })];
  const archive: Readable = vm.readArchive("/tmp", { exclude: ["x"] });
  void vm.writeArchive("/tmp", archive, { maxBytes: 1 }).then((written: TransferTotals) => written.links);
  const readable: Readable = vm.createReadStream("/tmp/x", { start: 1, end: 2, encoding: "utf8", highWaterMark: 10 });
  const writable: Writable = vm.createWriteStream("/tmp/x", { flags: "wx", mode: 0o600, signal: AbortSignal.abort() });
  // @ts-expect-error These flags read too.
  vm.createWriteStream("/tmp/x", { flags: "w+" });
  void [vm.createReadStream("/tmp/x", "utf8"), readable, writable];
  const watcher: FileWatcher = vm.watch("/tmp", { recursive: true, exclude: ["x"], signal: AbortSignal.abort() });
  await watcher.ready;
  for await (const event of watcher) {
    if (event.type === "renamed") paths.push(event.from);
    // @ts-expect-error A new file has no other path.
    if (event.type === "created") paths.push(event.from);
  }
  void [text, part, bytesOfPart, texts, wrong, paths, entries, isSymbolicLink];
  const { outputCut } = await vm.readProcessOutput(1);
  const { outputsCut } = await vm.stats();
  return [outputCut, (await vm.readShell("shell-1")).outputCut, outputsCut];
}

// Only what @opentelemetry/api has.
import { metrics, trace } from "@opentelemetry/api";
import { type InstrumentOptions, type Instrumentation, instrument } from "agent-vm/otel";

const instrumentOptions: InstrumentOptions = {
  tracerProvider: trace.getTracerProvider(),
  meterProvider: metrics.getMeterProvider(),
  attributesOf: ({ isolation }) => ({ isolation }),
};
export const instrumentation: Instrumentation = instrument(instrumentOptions);
