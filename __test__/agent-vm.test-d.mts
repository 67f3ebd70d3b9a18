// The types of agent-vm itself: checked by `npm run lint:types`, never run.
import { AgentVm, AgentVmError } from "agent-vm";
import type {
  AgentVmDiagnostic,
  AgentVmOptions,
  Enforcement,
  ExecResult,
  ExitStatus,
  ProcessInfo,
  ProcessTreeNode,
  VmStat,
} from "agent-vm";
import type { Duplex } from "node:stream";

const options: AgentVmOptions = {
  rootfs: "/srv/alpine",
  mounts: [{ path: "/src", hostPath: "/srv/src", readOnly: false }],
  directories: ["/workspace"],
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

// Results are what they say, member for member.
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
const { pid }: { pid: number } = await vm.spawn("node", ["server.js"], { stdin: new Uint8Array(), cwd: "/tmp" });
const code: number = await vm.waitProcess(pid);
await vm.signalProcess(pid, "SIGUSR1");
const processes: ProcessInfo[] = await vm.allProcesses();
const tree: ProcessTreeNode[] = (await vm.processTree()).flatMap(({ children }) => children);
const stat: VmStat = await vm.stat("/");
const content: Uint8Array = await vm.readFile("/etc/hosts");
const socket: Duplex = await vm.connect(3000);
const response: Response = await vm.fetch(3000, "/", { method: "POST" });
const held: Enforcement | null = vm.enforcement.memoryBytes;
const level: "namespaces" | "landlock" | "none" = (await AgentVm.doctor()).level;

// Events have the types of what they bring.
vm.on("processOutput", ({ pid, stream, data, seq }) => {
  const event: [number, "stdout" | "stderr", Uint8Array, number] = [pid, stream, data, seq];
  return event;
});
vm.once("shellExit", ({ shellId, exitCode }): [string, number] => [shellId, exitCode]);
vm.on("exit", ({ reason }): "disposed" | "died" => reason);

// A code can be branched on, also one that is an errno's name.
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

// Bounds: of terminals, of one file that is read, of outputs that something left running holds.
export async function bounds(): Promise<[boolean, boolean, number | undefined]> {
  await using vm = await AgentVm.create({ limits: { terminals: 2 } });
  await vm.readFile("/etc/hostname", { maxBytes: 100 });
  await vm.readFiles(["/etc/hostname"], { maxBytes: 100 });
  // @ts-expect-error maxBytes is a number.
  await vm.readFile("/etc/hostname", { maxBytes: "100" });
  // @ts-expect-error readFile has no encoding.
  await vm.readFile("/etc/hostname", "utf8");
  const { outputCut } = await vm.readProcessOutput(1);
  const { outputsCut } = await vm.stats();
  return [outputCut, (await vm.readShell("shell-1")).outputCut, outputsCut];
}
