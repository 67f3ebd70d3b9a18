"use strict";
// AGENT_VM_LOG: the log for developers on standard error.
const { nodeScript } = require("./fixture/server-process");

const USE = `
  const vm = await AgentVm.create({ env: { TOKEN: "secret-in-env" } });
  const { stdout } = await vm.exec("echo secret-in-output; : secret-in-command");
  await vm.exists("/home/user");
  await vm.dispose();
  await AgentVm.create({ home: "/no/such/directory" }).catch(({ code }) => console.log(code));`;

/** The lines that a server with a VM writes to standard error. */
async function logged(level, source = USE) {
  const { code, stdout, stderr } = await nodeScript(source, { env: { AGENT_VM_LOG: level } }).ended;
  return { code, stdout, lines: stderr.split("\n").filter(Boolean) };
}

const levels = (lines) => new Set(lines.map((line) => / (ERROR|WARN|INFO|DEBUG|TRACE) /.exec(line)?.[1] ?? line));

test("nothing is logged unless it is asked for", async () => {
  expect(await logged("")).toEqual({ code: 0, stdout: "ENOENT", lines: [] });
});

test.each([
  ["error", []],
  ["warn", ["WARN"]],
  ["info", ["WARN", "INFO"]],
  ["debug", ["WARN", "INFO", "DEBUG"]],
  ["trace", ["WARN", "INFO", "DEBUG", "TRACE"]],
])("%s shows what is as grave or graver", async (level, shown) => {
  const { code, stdout, lines } = await logged(level);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "ENOENT" });
  expect(levels(lines)).toEqual(new Set(shown));
});

test("the log has what VMs and their programs did, and no contents", async () => {
  const text = (await logged("trace")).lines.join("\n");
  expect(text).toMatch(/ INFO agent_vm_host::\S+: a VM booted pid=\d+ isolation=Namespaces took=/);
  expect(text).toMatch(/ DEBUG vm\{pid=\d+\}: agent_vm_host::\S+: started call=\d+ pid=\d+/);
  expect(text).toMatch(/ DEBUG vm\{pid=\d+\}: agent_vm_host::\S+: exited call=\d+ code=0 /);
  expect(text).toMatch(/ TRACE agent_vm_host::\S+: asked call=\d+ request="spawn"/);
  expect(text).toMatch(/ INFO vm\{pid=\d+\}: agent_vm_host::\S+: it ended disposed=true/);
  expect(text).toMatch(/ WARN agent_vm_host::\S+: a VM did not boot error=.*\/no\/such\/directory/);
  expect(text).not.toContain("secret");
});

test("an unknown level is reported, and logs nothing", async () => {
  const { code, lines } = await logged("loud");
  expect(code).toBe(0);
  expect(lines[0]).toContain('AGENT_VM_LOG takes error, warn, info, debug, trace; "loud" logs nothing');
  expect(lines.join("\n")).not.toMatch(/ (WARN|INFO) agent_vm/);
});

test("worker threads log as well", async () => {
  const source = `
    const { Worker } = require("node:worker_threads");
    const script = "const { AgentVm } = require(process.argv[2]); AgentVm.create().then((vm) => vm.dispose())";
    const use = () => new Promise((resolve) => new Worker(script, { eval: true, argv: [${JSON.stringify(require("./fixture/project").root)}] }).once("exit", resolve));
    await use(); await use();`;
  const { code, lines } = await logged("info", source);
  expect(code).toBe(0);
  expect(lines.filter((line) => line.includes("a VM booted"))).toHaveLength(2);
});

test("programs inside do not see the log's setting", async () => {
  const { stdout } = await logged(
    "error",
    `const vm = await AgentVm.create(); console.log((await vm.exec("env")).stdout.includes("AGENT_VM_LOG")); await vm.dispose();`,
  );
  expect(stdout).toBe("false");
});
