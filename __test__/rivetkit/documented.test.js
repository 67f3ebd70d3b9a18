"use strict";
// The snippets of the agentOS documentation, "Processes & Shell", as printed there (what they print is collected).

const { startServer } = require("./fixture");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("one-shot execution", async () => {
  const printed = await server.evaluate(async ({ client }) => {
    const agent = client.vm.getOrCreate(["my-agent"]);

    const result = await agent.exec("echo hello && ls /home/user");
    return [result.stdout, result.stderr, result.exitCode];
  });
  expect(printed).toEqual(["hello\n", "", 0]);
});

test("spawn a long-running process", async () => {
  const { pid, printed } = await server.evaluate(async ({ client, until }) => {
    const agent = client.vm.getOrCreate(["my-agent"]);
    const script = "console.log('up'); console.error('oops'); setTimeout(() => process.exit(3), 200)";
    await agent.exec("cat > server.js", { stdin: script });
    const printed = [];

    // Subscribe to process output
    agent.on("processOutput", (data) => {
      const text = new TextDecoder().decode(data.data);
      printed.push(`[pid ${data.pid}] ${data.stream}: ${text}`);
    });

    agent.on("processExit", (data) => {
      printed.push(`[pid ${data.pid}] exited with code ${data.exitCode}`);
    });

    // Spawn a dev server
    const { pid } = await agent.spawn("node", ["/home/user/server.js"]);

    await until(() => printed.length >= 3);
    return { pid, printed };
  });
  expect(printed.slice(0, 2).sort()).toEqual([`[pid ${pid}] stderr: oops\n`, `[pid ${pid}] stdout: up\n`]);
  expect(printed.slice(2)).toEqual([`[pid ${pid}] exited with code 3`]);
});

test("write to stdin", async () => {
  const exitCode = await server.evaluate(async ({ client }) => {
    const agent = client.vm.getOrCreate(["my-agent"]);

    const { pid } = await agent.spawn("cat", []);

    // Write to stdin
    await agent.writeProcessStdin(pid, "hello from stdin\n");

    // Close stdin when done
    await agent.closeProcessStdin(pid);

    // Wait for the process to exit
    const exitCode = await agent.waitProcess(pid);
    return exitCode;
  });
  expect(exitCode).toBe(0);
});

test("process lifecycle", async () => {
  const { pid, processes, info, exitCode } = await server.evaluate(async ({ client }) => {
    const agent = client.vm.getOrCreate(["my-agent"]);
    await agent.exec("cat > server.js", { stdin: "setInterval(() => {}, 1000)" });

    const { pid } = await agent.spawn("node", ["/home/user/server.js"]);

    // List all spawned processes
    const processes = await agent.listProcesses();

    // Get info about a specific process
    const info = await agent.getProcess(pid);

    // Graceful stop (SIGTERM)
    await agent.stopProcess(pid);

    // Force kill (SIGKILL)
    await agent.killProcess(pid);

    return { pid, processes, info, exitCode: await agent.waitProcess(pid) };
  });
  expect(processes.filter((each) => each.pid === pid)).toEqual([
    { pid, command: "node", args: ["/home/user/server.js"], running: true, exitCode: null },
  ]);
  expect([info.running, info.exitCode]).toEqual([true, null]);
  expect(exitCode).toBeGreaterThan(128);
});

test("system-wide process visibility", async () => {
  const { pid, all, tree } = await server.evaluate(async ({ client }) => {
    const agent = client.vm.getOrCreate(["my-agent"]);
    const { pid } = await agent.spawn("sh", ["-c", "sleep 60 & sleep 60; true"]);
    while ((await agent.allProcesses()).length < 3) continue;

    // All processes
    const all = [];
    for (const p of await agent.allProcesses()) {
      all.push([p.pid, p.driver, p.command, p.status]);
    }

    // Process tree (parent-child hierarchy)
    const tree = [];
    for (const node of await agent.processTree()) {
      tree.push([node.pid, node.command, node.children.length]);
    }

    await agent.killProcess(pid);
    return { pid, all, tree };
  });
  expect(all).toContainEqual([pid, "native", "sh", "running"]);
  expect(all.filter(([, , command]) => command === "sleep")).toHaveLength(2);
  expect(tree).toEqual([[pid, "sh", 2]]);
});

test("interactive shells", async () => {
  const { printed, shells } = await server.evaluate(async ({ client, until }) => {
    const agent = client.vm.getOrCreate(["my-agent"]);
    let printed = "";

    // Subscribe to shell output
    agent.on("shellData", (data) => {
      const text = new TextDecoder().decode(data.data);
      printed += text;
    });

    // Open a shell
    const { shellId } = await agent.openShell();

    // Write commands to the shell
    await agent.writeShell(shellId, "ls -la /home/user\n");

    // Resize the terminal
    await agent.resizeShell(shellId, 120, 40);

    await until(() => printed.includes("total"));
    await agent.writeShell(shellId, "stty size\n");
    await until(() => printed.includes("40 120"));

    // Close the shell when done
    await agent.closeShell(shellId);
    return { printed, shells: await agent.listShells() };
  });
  expect(printed).toContain("user@agent-vm:~$");
  expect(shells).toMatchObject([{ running: false, cols: 120, rows: 40 }]);
});
