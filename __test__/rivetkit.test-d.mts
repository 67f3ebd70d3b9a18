// The types of agent-vm/rivetkit and agent-vm/client: checked by `npm run lint:types`, never run.
import { type ActorHandle, createClient } from "agent-vm/client";
import { agentOs } from "agent-vm/rivetkit";
import type { Duplex, Readable, Writable } from "node:stream";
import type { ExitStatus, OpenedShell, SpawnedProcess } from "agent-vm";
import { setup } from "rivetkit";

const vm = agentOs<{ token: string }>({
  options: { persist: { directory: "/srv/homes" }, limits: { pids: 64 }, network: "none" },
  sleepTimeout: 60_000,
  actionTimeout: 60_000,
  onBeforeConnect: (_c, params) => {
    if (params.token === "") throw new Error("no token");
  },
  onSleep: (c) => c.log.info("sleeps"),
});
const registry = setup({ use: { vm } });

const client = createClient<typeof registry>("http://localhost:6420");
const agent: ActorHandle<typeof vm> = client.vm.getOrCreate(["my-agent"], { params: { token: "x" } });

agent.exec("true").then(({ stdout, exitCode }): [string, number] => [stdout, exitCode]);
const { contextId }: { contextId: string } = await agent.createContext({ cwd: "/tmp" });
await agent.exec("cd /", { contextId, signal: AbortSignal.timeout(1), onStdout: () => {} });
agent.listContexts().then(([first]): string | undefined => first?.cwd);
// @ts-expect-error -- the context has the environment
await agent.exec("true", { contextId, env: {} });
agent.vmFetch(3000, "/", { method: "POST", body: "x" }).then((response): Uint8Array => response.body);
agent.waitForPort(3000, { timeout: 1, signal: AbortSignal.timeout(1) }).then(({ pid }): number | null => pid);
agent.waitForOutput(1, /x/, { after: 1 }).then(({ nextSeq }): number => nextSeq);
agent.readScreen("shell-1", { after: 1 }).then(({ lines, cursor: { row } }): [string[], number] => [lines, row]);
agent.waitForScreen("shell-1", /x/, { timeout: 1 }).then(({ exact }): boolean => exact);
agent.waitForIdle("shell-1", { timeout: 1 }).then((nothing): void => nothing);
agent.on("portOpened", ({ port }): number => port);
agent.on("shellWaiting", ({ shellId }): string => shellId);
agent.stats().then(({ cpuMs }): number => cpuMs);
agent
  .watchStats({ interval: 100 })
  .next()
  .then(({ done }): boolean | undefined => done);
agent.listPorts().then(([first]): string | undefined => first?.address);
agent.deleteFile("/home/user/file", { recursive: true }).then((nothing): void => nothing);
const off: () => void = agent.on("processOutput", ({ pid, stream, data, seq }) => {
  const event: [number, "stdout" | "stderr", Uint8Array, number] = [pid, stream, data, seq];
  return event;
});
off();
agent.once("vmShutdown", ({ reason }): "sleep" | "destroy" | "error" => reason);
agent.on("networkDenied", ({ host, port }): [string, number] => [host, port]);
agent.on("processClose", ({ pid }): number => pid);
agent.pauseProcessOutput(1, "stdout").then((nothing): void => nothing);
agent.spawn("true").then((spawned): SpawnedProcess => spawned);
agent.openShell().then((opened): OpenedShell => opened);
agent.spawn("true", [], { cwd: "/tmp" }).then(({ stdout, stdin }): [Readable, Writable] => [stdout, stdin]);
agent.openShell().then(({ stream, exited }): [Duplex, Promise<ExitStatus>] => [stream, exited]);
agent.getHandle(1).then(({ lines }) => lines);
agent.uploadDirectory("/src", "/tmp", { exclude: ["x"] }).then(({ files }): number => files);
agent.downloadDirectory("/tmp", "out", { maxBytes: 1, onProgress: ({ bytes }): number => bytes });
agent.pause().then((nothing): void => nothing);
agent.getHandle("shell-1").then((shell): Promise<void> => shell.resize(80, 24));
agent.getHandle("shell-1").then(async (shell): Promise<number> => (await shell.readScreen({ after: 1 })).rows);
// @ts-expect-error -- a shell has no standard input of its own
agent.getHandle("shell-1").then(({ stdin }) => stdin);
await agent.dispose();

// @ts-expect-error -- no such call
await agent.explode();
const { signal } = new AbortController();
await agent.exec("true", { signal, onStdout: (data: Uint8Array) => void data.byteLength });
await agent.spawn("true", [], { signal, onStderr: (data: Uint8Array) => void data.byteLength });
await agent.vmFetch(3000, "/", { signal });
await agent.exec("true", { check: true, keepOutput: "ends" }).then(({ stdout }): string => stdout);
await agent.exec("true", { encoding: "buffer" }).then(({ stdout }): Uint8Array => stdout);
await agent.execFile("true", [], { encoding: "buffer", check: true }).then(({ stderr }): Uint8Array => stderr);
// @ts-expect-error -- no such end
await agent.exec("true", { keepOutput: "middle" });
// @ts-expect-error -- a callback, and no switch
await agent.exec("true", { onStdout: true });
// @ts-expect-error -- no such event
agent.on("processStarted", () => {});
// @ts-expect-error -- a number is no option for sleeping in words
agentOs({ sleepTimeout: "1s" });
// @ts-expect-error -- a directory, not a switch
agentOs({ options: { persist: true } });
