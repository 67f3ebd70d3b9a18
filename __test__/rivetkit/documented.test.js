"use strict";
// The snippets of the agentOS documentation, "Processes & Shell", as printed there except for the imports, in
// ../fixture/rivetkit/documented/. They are type-checked and run beside the package as npm installs it from its
// tarballs, as for users.

const { spawn } = require("node:child_process");
const { cpSync, readFileSync, readdirSync, mkdirSync, symlinkSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { install, pack, run } = require("../fixture/packages");
const { directoryForFile } = require("../fixture/directory");
const { startServer } = require("../fixture/rivetkit/servers");

const root = join(__dirname, "../..");

const tarballs = directoryForFile();
const app = directoryForFile();
let server;

beforeAll(async () => {
  const { main, platform } = await pack(tarballs);
  await install(app, main, platform);
}, 120_000);

test("npm installs nothing with the package but its own files", () => {
  const installed = readdirSync(join(app, "node_modules")).filter((name) => !name.startsWith("."));
  expect(installed).toEqual(["agent-vm", `agent-vm-linux-${process.arch}-gnu`]);
});

test("what npm installed runs, without rivetkit", async () => {
  const script = `require("agent-vm").AgentVm.create().then((vm) => vm.exec("echo installed")).then(({ stdout }) => console.log(stdout))`;
  expect((await run(process.execPath, ["--eval", script], { cwd: app })).stdout).toBe("installed\n\n");
});

describe("beside rivetkit", () => {
  beforeAll(async () => {
    mkdirSync(join(app, "node_modules/@types"));
    // What `npm install rivetkit typescript` would install, which takes long.
    for (const name of ["rivetkit", "ws", "@types/node"]) {
      symlinkSync(join(root, "node_modules", name), join(app, "node_modules", name));
    }
    server = await startServer({ script: join(app, "out/server.js") }, { start: false });
    cpSync(join(__dirname, "../fixture/rivetkit/documented"), app, { recursive: true });
    for (const name of readdirSync(app).filter((each) => each.endsWith(".ts"))) {
      const text = readFileSync(join(app, name), "utf8").replace("http://localhost:6420", server.engine.endpoint);
      // The printed snippet closes its shell at once; here it first waits for the shell's answer.
      const exit = 'await agent.writeShell(shellId, "stty size; exit\\n");\nawait agent.waitShell(shellId);\n';
      writeFileSync(join(app, name), text.replace("// Close the shell when done\n", exit));
    }
    await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "--project", app]);
    server.start();
    await server.evaluate(({ client }) =>
      client.vm
        .getOrCreate(["my-agent"])
        .writeFile(
          "/home/user/server.js",
          "console.log('up'); console.error('oops'); setTimeout(() => process.exit(3), 1500)",
        ),
    );
  }, 120_000);

  /** Runs a snippet until it has printed the expected text; a snippet that listens would never end by itself. */
  async function printed(name, ...expected) {
    const child = spawn(process.execPath, [join(app, `out/${name}.js`)], {
      env: { ...process.env, RIVET_LOG_LEVEL: "error" },
    });
    let output = "";
    const ended = new Promise((resolve) => child.once("exit", resolve));
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
    try {
      for (const end = Date.now() + 60_000; !expected.every((each) => each.test(output));) {
        if (Date.now() > end || child.exitCode) throw new Error(`${name} printed:\n${output}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
    return output;
  }

  test("one-shot execution", async () => {
    expect(await printed("one-shot", /exit code: \d+/)).toBe("stdout: hello\nserver.js\n\nstderr: \nexit code: 0\n");
  });

  test("spawn a long-running process", async () => {
    const output = await printed("spawn", /exited with code/, /stdout: up/, /stderr: oops/);
    const [, pid] = /^Started process: (\d+)$/m.exec(output);
    expect(output).toContain(`[pid ${pid}] stdout: up\n`);
    expect(output).toContain(`[pid ${pid}] stderr: oops\n`);
    expect(output).toContain(`[pid ${pid}] exited with code 3\n`);
  });

  test("write to stdin", async () => {
    expect(await printed("stdin", /exit code: \d+/)).toBe("exit code: 0\n");
  });

  test("process lifecycle", async () => {
    const output = await printed("lifecycle", /^running: .* exit code: .*$/m);
    expect(output).toMatch(
      /args: \[ '\/home\/user\/server.js' \],\s+command: 'node',\s+exitCode: null,\s+pid: \d+,\s+running: true/,
    );
    expect(output).toContain("running: true exit code: null\n");
  });

  test("system-wide process visibility", async () => {
    const spawned = server.evaluate(async ({ client, pause }) => {
      const agent = client.vm.getOrCreate(["my-agent"]);
      const { pid } = await agent.spawn("sh", ["-c", "sleep 60 & sleep 60; true"]);
      while ((await agent.allProcesses()).filter(({ command }) => command === "sleep").length < 2) continue;
      await pause("running");
      await agent.killProcess(pid);
      return pid;
    });
    await spawned.reached("running");
    const output = await printed("visibility", /children: 2/);
    spawned.go("running");
    const pid = await spawned;
    expect(output).toContain(`${pid} native sh running\n`);
    expect(output.match(/^\d+ native sleep running$/gm)).toHaveLength(2);
    expect(output).toContain(`${pid} sh children: 2\n`);
  });

  test("interactive shells", async () => {
    const output = await printed("shell", /40 120/);
    expect(output).toContain("user@agent-vm:~$ ");
    expect(output).toMatch(/^total \d+\r$/m);
    expect(output).toMatch(/^40 120\r$/m);
  });
});
