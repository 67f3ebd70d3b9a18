"use strict";

const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("a client whose connection is cut misses no output, no exit and no close, and its pending calls are answered", async () => {
  const seen = await server.evaluate(async ({ agent, endpoint, sleep, text, until }) => {
    const cut = () => {
      const port = Number(new URL(endpoint).port);
      const sockets = process._getActiveHandles().filter((handle) => handle.remotePort === port);
      for (const socket of sockets) socket.destroy();
      return sockets.length;
    };
    let output = "";
    let shell = "";
    const exits = [];
    agent.on("processOutput", ({ data }) => (output += text(data)));
    const closes = [];
    agent.on("processExit", (event) => exits.push(event));
    agent.on("processClose", (event) => closes.push(event));
    agent.on("shellData", ({ data }) => (shell += text(data)));
    const { pid } = await agent.spawn("sh", ["-c", "for i in $(seq 300); do echo $i; sleep 0.01; done; exit 9"]);
    const { shellId } = await agent.openShell({
      command: "sh",
      args: ["-c", "for i in 1 2 3; do sleep 1; echo $i; done"],
    });
    const waiting = agent.waitProcess(pid);
    const slow = agent.exec("sleep 3; echo slow");
    for (let time = 0; time < 3; time++) {
      // While the process and the shell are printing.
      await sleep(700);
      // On a busy machine, the next connection takes a while.
      await until(() => cut() > 0);
    }
    const [exitCode, result] = await Promise.all([waiting, slow, agent.waitShell(shellId)]);
    await until(() => exits.length > 0 && closes.length > 0 && shell.length >= 9);
    return { output, shell, exits, closes, exitCode, stdout: result.stdout, pid };
  });
  expect(seen.output).toBe(Array.from({ length: 300 }, (_, index) => `${index + 1}\n`).join(""));
  expect(seen.shell).toBe("1\r\n2\r\n3\r\n");
  expect(seen.exits).toMatchObject([{ pid: seen.pid, exitCode: 9 }]);
  expect(seen.closes).toEqual([{ pid: seen.pid }]);
  expect([seen.exitCode, seen.stdout]).toEqual([9, "slow\n"]);
}, 180_000);

test("no call holds an action longer than 20 s: a longer one is started and followed", async () => {
  const stdout = await server.evaluate(
    async ({ agent }) => (await Promise.all([agent.exec("sleep 21; echo done"), agent.exec("true")]))[0].stdout,
  );
  expect(stdout).toBe("done\n");
});

test("a connection closes a second after its last use, and a subscription keeps it", async () => {
  const kept = await server.evaluate(async ({ agent, endpoint, sleep, until }) => {
    const connections = () =>
      process._getActiveHandles().filter(({ remotePort }) => remotePort === Number(new URL(endpoint).port)).length;
    // The number of connections is compared, because rivetkit may keep an HTTP connection for reuse.
    await agent.exec("true");
    const used = connections();
    await until(() => connections() < used);
    const off = agent.on("vmShutdown", () => {});
    await agent.exec("true");
    // Longer than an unused connection is kept.
    await sleep(2000);
    const subscribed = connections();
    off();
    await until(() => connections() < subscribed);
    return subscribed;
  });
  expect(kept).toBeGreaterThan(0);
});

test("dispose closes the connection, and the handle can still be used", async () => {
  const results = await server.evaluate(async ({ agent, failure, sleep }) => {
    let heard = 0;
    agent.on("processExit", () => heard++);
    await agent.exec("true");
    const pending = failure(agent.exec("sleep 60"));
    await sleep(300);
    await agent.dispose();
    const { stdout } = await agent.exec("echo again");
    const { pid } = await agent.spawn("true");
    await agent.waitProcess(pid);
    await sleep(200);
    return { pending: await pending, stdout, heard };
  });
  expect(results).toMatchObject({ pending: { name: "ConnectionLost" }, stdout: "again\n", heard: 0 });
});
