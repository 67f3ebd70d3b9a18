// The client of the agentOS documentation ("Processes & Shell"), section by section, with one import changed; each prints
// what happened and checks it.
import assert from "node:assert/strict";
import { createClient } from "agent-vm/client";
import type { registry } from "./server.mjs";

const client = createClient<typeof registry>(process.env.DEMO_ENDPOINT ?? "http://localhost:6420");
const agent = client.vm.getOrCreate(["my-agent"]);

const decoder = new TextDecoder();
const section = (title: string) => console.log(`\n── ${title}`);
/** What each process and shell has written so far. */
const written = new Map<number | string, string>();
const note = (id: number | string, data: Uint8Array) => {
  const text = decoder.decode(data, { stream: true });
  written.set(id, (written.get(id) ?? "") + text);
  return text;
};
async function until(what: string, holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !holds();) {
    assert.ok(Date.now() < end, `10 s, and still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

section("One-shot execution");
const result = await agent.exec("echo hello && ls /home/user");
console.log("stdout:", result.stdout);
console.log("stderr:", result.stderr);
console.log("exit code:", result.exitCode);
assert.equal(result.stdout.split("\n")[0], "hello");
assert.equal(result.exitCode, 0);

section("What only a real Linux can run");
const source = `#include <stdio.h>
#include <unistd.h>
int main(void) { printf("compiled C, as uid %d in process %d\\n", getuid(), getpid()); return 7; }
`;
await agent.exec("cat > hello.c", { stdin: source });
const real =
  (await agent.exec("command -v cc")).exitCode === 0
    ? await agent.exec("cc -O2 -o hello hello.c && ./hello")
    : await agent.exec(
        "git init -q repo && cd repo && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first && git log --oneline; exit 7",
      );
console.log(real.stdout.trim(), "→ exit code", real.exitCode);
assert.equal(real.exitCode, 7, real.stderr);

section("Spawn a long-running process");
const devServer = `require("node:http").createServer((request, response) => {
     console.log(request.method, request.url);
     response.end("served from inside\\n");
   }).listen(3000, () => console.log("listening on 3000"));`;
await agent.exec("cat > server.js", { stdin: devServer });
agent.on("processOutput", (data) => {
  const text = note(data.pid, data.data);
  console.log(`[pid ${data.pid}] ${data.stream}: ${text.trimEnd()}`);
});
const exits = new Map<number, number>();
agent.on("processExit", (data) => {
  exits.set(data.pid, data.exitCode);
  console.log(`[pid ${data.pid}] exited with code ${data.exitCode}`);
});
const { pid } = await agent.spawn("node", ["/home/user/server.js"]);
console.log("Started process:", pid);
await until("the dev server listens", () => written.get(pid)?.includes("listening") ?? false);
const page = await agent.exec(
  `node -e 'fetch("http://localhost:3000/index.html").then(async (page) => console.log(page.status, await page.text()))'`,
);
console.log("GET /index.html:", page.stdout.trim());
assert.match(page.stdout, /^200 served from inside/);
await until("its log line came", () => written.get(pid)?.includes("GET /index.html") ?? false);

section("Write to stdin");
const cat = await agent.spawn("cat", []);
await agent.writeProcessStdin(cat.pid, "hello from stdin\n");
await agent.closeProcessStdin(cat.pid);
const exitCode = await agent.waitProcess(cat.pid);
console.log("exit code:", exitCode);
assert.equal(exitCode, 0);
await until("what cat repeated came", () => written.get(cat.pid) === "hello from stdin\n");

section("Process lifecycle");
const processes = await agent.listProcesses();
console.log(processes);
assert.ok(processes.some((each) => each.pid === pid && each.running));
const info = await agent.getProcess(pid);
console.log("running:", info.running, "exit code:", info.exitCode);

section("System-wide process visibility");
const all = await agent.allProcesses();
for (const p of all) console.log(p.pid, p.driver, p.command, p.status);
assert.ok(all.some((each) => each.pid === pid && each.driver === "node"));
const tree = await agent.processTree();
for (const node of tree) console.log(node.pid, node.command, "children:", node.children.length);

section("Process lifecycle: stop and kill");
await agent.stopProcess(pid);
console.log("exit code after SIGTERM:", await agent.waitProcess(pid));
assert.equal(await agent.waitProcess(pid), 143);
await agent.killProcess(pid);
await agent.getProcess(99999).catch((error: Error) => console.log("getProcess(99999):", error.message));

section("Interactive shells");
agent.on("shellData", (data) => {
  process.stdout.write(note(data.shellId, data.data));
});
const { shellId } = await agent.openShell();
await agent.writeShell(shellId, "ls -la /home/user\n");
await until("the listing came", () => written.get(shellId)?.includes("server.js") ?? false);
await agent.resizeShell(shellId, 120, 40);
await agent.writeShell(shellId, "stty size\n");
await until("the terminal is 120×40", () => written.get(shellId)?.includes("40 120") ?? false);
await agent.closeShell(shellId);
console.log("\nclosed; shells that run:", (await agent.listShells()).filter((shell) => shell.running).length);

await agent.dispose();
console.log("\nEverything documented ran, on a real Linux.");
