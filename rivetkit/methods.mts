// What each call does with the actor's machine. Calls about something that runs boot no VM to hear that it is not there.
import type { AgentVm } from "agent-vm";
import { failure } from "./errors.mjs";
import type { Machine } from "./machine.mjs";
import type { RemoteCalls, VmFetchInit, VmFetchResult } from "./remote.mjs";
import { CALL_BYTES } from "./wire.mjs";

export type Methods = {
  [K in keyof RemoteCalls]: (machine: Machine, ...args: Parameters<RemoteCalls[K]>) => ReturnType<RemoteCalls[K]>;
};

export const methods: Methods = {
  exec: async (machine, ...args) => (await machine.boot()).exec(...args),
  execFile: async (machine, ...args) => (await machine.boot()).execFile(...args),

  spawn: async (machine, ...args) => {
    const process = await (await machine.boot()).spawn(...args);
    machine.started(process);
    return process;
  },
  writeProcessStdin: async (machine, pid, data) => (await withProcess(machine, pid)).writeProcessStdin(pid, data),
  closeProcessStdin: async (machine, pid) => (await withProcess(machine, pid)).closeProcessStdin(pid),
  waitProcess: async (machine, pid) => (await withProcess(machine, pid)).waitProcess(pid),
  listProcesses: async (machine) => (await machine.running())?.listProcesses() ?? [],
  getProcess: async (machine, pid) => (await withProcess(machine, pid)).getProcess(pid),
  stopProcess: async (machine, pid) => (await withProcess(machine, pid)).stopProcess(pid),
  killProcess: async (machine, pid) => (await withProcess(machine, pid)).killProcess(pid),
  signalProcess: async (machine, pid, signal) => (await withProcess(machine, pid)).signalProcess(pid, signal),
  readProcessOutput: async (machine, pid, options) => (await withProcess(machine, pid)).readProcessOutput(pid, options),
  allProcesses: async (machine) => (await machine.running())?.allProcesses() ?? [],
  processTree: async (machine) => (await machine.running())?.processTree() ?? [],

  openShell: async (machine, ...args) => {
    const shell = await (await machine.boot()).openShell(...args);
    machine.started(shell);
    return shell;
  },
  writeShell: async (machine, shellId, data) => (await withShell(machine, shellId)).writeShell(shellId, data),
  resizeShell: async (machine, shellId, cols, rows) =>
    (await withShell(machine, shellId)).resizeShell(shellId, cols, rows),
  closeShell: async (machine, shellId) => (await withShell(machine, shellId)).closeShell(shellId),
  waitShell: async (machine, shellId) => (await withShell(machine, shellId)).waitShell(shellId),
  listShells: async (machine) => (await machine.running())?.listShells() ?? [],
  readShell: async (machine, shellId, options) => (await withShell(machine, shellId)).readShell(shellId, options),

  readFile: async (machine, ...args) => (await machine.boot()).readFile(...args),
  writeFile: async (machine, ...args) => (await machine.boot()).writeFile(...args),
  readFiles: async (machine, ...args) => (await machine.boot()).readFiles(...args),
  writeFiles: async (machine, ...args) => (await machine.boot()).writeFiles(...args),
  mkdir: async (machine, ...args) => (await machine.boot()).mkdir(...args),
  readdir: async (machine, ...args) => (await machine.boot()).readdir(...args),
  readdirRecursive: async (machine, ...args) => (await machine.boot()).readdirRecursive(...args),
  stat: async (machine, ...args) => (await machine.boot()).stat(...args),
  exists: async (machine, ...args) => (await machine.boot()).exists(...args),
  move: async (machine, ...args) => (await machine.boot()).move(...args),
  delete: async (machine, ...args) => (await machine.boot()).delete(...args),
  deleteFile: async (machine, ...args) => (await machine.boot()).delete(...args),

  vmFetch: async (machine, port, url, init) => vmFetch(await machine.boot(), port, url, init),
};

async function withProcess(machine: Machine, pid: number): Promise<AgentVm> {
  const vm = await machine.running();
  if (vm) return vm;
  if (!Number.isInteger(pid) || pid < 1) {
    throw failure("INVALID_ARGUMENT", `pid must be a positive integer, not ${String(pid)}`);
  }
  throw failure("PROCESS_NOT_FOUND", `Process not found: ${pid}`);
}

async function withShell(machine: Machine, shellId: string): Promise<AgentVm> {
  const vm = await machine.running();
  if (vm) return vm;
  if (typeof shellId !== "string") throw failure("INVALID_ARGUMENT", "shellId must be a string");
  throw failure("SHELL_NOT_FOUND", `Shell not found: ${shellId}`);
}

async function vmFetch(vm: AgentVm, port: number, url: string, init: VmFetchInit = {}): Promise<VmFetchResult> {
  const { method, headers, body } = init;
  const response = await vm.fetch(port, url, {
    ...(method === undefined ? {} : { method }),
    ...(headers === undefined ? {} : { headers }),
    // A copy, whose memory is certainly an ArrayBuffer of its own.
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : new Uint8Array(body) }),
  });
  return {
    status: response.status,
    statusText: response.statusText,
    headers: Object.fromEntries(response.headers),
    body: await readBody(response),
  };
}

async function readBody(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > CALL_BYTES) {
      throw failure("LIMIT_EXCEEDED", `A response's body is at most ${CALL_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}
