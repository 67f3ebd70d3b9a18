"use strict";
// Contexts over an actor.
const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("a client has contexts as a VM has", async () => {
  const seen = await server.evaluate(async ({ agent, failure, text }) => {
    const unknown = await failure(agent.exec("echo", { contextId: "context-1" }));
    const { contextId } = await agent.createContext({ cwd: "/tmp", env: { EXPORTED: "x" } });
    await agent.exec("cd /; plain=1", { contextId });
    const printed = [];
    const ran = await agent.exec("pwd; echo $EXPORTED $plain", {
      contextId,
      onStdout: (data) => printed.push(text(data)),
    });
    const timedOut = await agent.exec("sleep 1000", { contextId, timeout: 200 });
    const aborted = await failure(agent.exec("sleep 1000", { contextId, signal: AbortSignal.timeout(200) }));
    const kept = await agent.exec("echo $plain", { contextId });
    const info = await agent.getContext(contextId);
    const listed = await agent.listContexts();
    const ended = await agent.exec("exit 3", { contextId });
    await agent.resetContext(contextId);
    const reset = await agent.exec("pwd; echo [$plain]", { contextId });
    await agent.deleteContext(contextId);
    return {
      unknown,
      ran: [ran.stdout, printed.join(""), ran.contextRestarted],
      timedOut: timedOut.timedOut,
      aborted,
      kept: kept.stdout,
      info: [info.contextId, info.shell, info.cwd, info.env.EXPORTED],
      listed: listed.map((each) => each.contextId),
      ended: [ended.exitCode, ended.contextRestarted],
      reset: reset.stdout,
      gone: await failure(agent.getContext(contextId)),
    };
  });
  const gone = { group: "user", code: "CONTEXT_NOT_FOUND", message: "Context not found: context-1" };
  expect(seen).toMatchObject({
    unknown: gone,
    ran: ["/\nx 1\n", "/\nx 1\n", false],
    timedOut: true,
    aborted: { code: "ABORTED" },
    kept: "1\n",
    info: ["context-1", "bash", "/", "x"],
    listed: ["context-1"],
    ended: [3, true],
    reset: "/tmp\n[]\n",
    gone,
  });
});
