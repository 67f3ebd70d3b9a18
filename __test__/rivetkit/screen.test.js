"use strict";
// The screens of shells over an actor.
const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("a client reads screens, waits for texts, and matches its expressions itself", async () => {
  const seen = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const script = "printf 'one\\033[3;5Htwo'; read line; printf 'thr''ee'; read line; exit 2";
    const { shellId } = await agent.openShell({ command: "sh", args: ["-c", script], screen: true });
    const two = await agent.waitForScreen(shellId, "two");
    const expression = agent.waitForScreen(shellId, /^thr(ee)$/m);
    const text = agent.waitForScreen(shellId, "three");
    const after = agent.readScreen(shellId, { after: two.nextSeq });
    const ended = [failure(agent.waitForScreen(shellId, "never")), failure(agent.waitForScreen(shellId, /never/g))];
    const controller = new AbortController();
    const aborted = [/never/, "never"].map((each) =>
      failure(agent.waitForScreen(shellId, each, { signal: controller.signal })),
    );
    controller.abort();
    const late = [/never/, "never"].map((each) => failure(agent.waitForScreen(shellId, each, { timeout: 1 })));
    await agent.writeShell(shellId, "\n");
    const found = [(await text).lines[3], (await expression).lines[3], (await after).exact];
    await agent.writeShell(shellId, "\n");
    const wide = await agent.openShell({
      command: "sh",
      args: ["-c", "printf abcdef; read end"],
      cols: 3,
      screen: true,
    });
    await agent.waitForScreen(wide.shellId, "def");
    const resized = [agent.waitForScreen(wide.shellId, /^abcdef$/m), agent.waitForScreen(wide.shellId, "abcdef")];
    await agent.resizeShell(wide.shellId, 10, 24);
    const sizes = (await Promise.all(resized)).map(({ cols }) => cols);
    await agent.closeShell(wide.shellId);
    const codes = async (failures) => (await Promise.all(failures)).map(({ code }) => code);
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    return {
      two,
      found,
      sizes,
      ended: await codes(ended),
      aborted: await codes(aborted),
      late: await codes(late),
      last: await agent.readScreen(shellId),
      plain: (await plain.waitForScreen(shellId, "one")).lines[0],
      refused: await failure(plain.waitForScreen(shellId, { source: "x", flags: "" })),
      unknown: await failure(agent.readScreen("shell-99")),
    };
  });
  expect(seen).toMatchObject({
    two: { rows: 24, cols: 80, cursor: { row: 2, col: 7, visible: true }, exact: true, exited: null },
    found: ["three", "three", true],
    sizes: [10, 10],
    ended: ["OUTPUT_ENDED", "OUTPUT_ENDED"],
    aborted: ["ABORTED", "ABORTED"],
    late: ["ETIMEDOUT", "ETIMEDOUT"],
    last: { exited: { exitCode: 2 } },
    plain: "one",
    refused: { code: "INVALID_ARGUMENT", message: expect.stringContaining("agent-vm/client") },
    unknown: { code: "SHELL_NOT_FOUND" },
  });
  expect(seen.two.lines.slice(0, 3)).toEqual(["one", "", "    two"]);
});

test("the handle of a shell reads its screen, waits for more, and ends the wait with its signal", async () => {
  const seen = await server.evaluate(async ({ agent, failure }) => {
    const args = ["-c", "stty raw -echo; printf ready; exec cat"];
    const shell = await agent.openShell({ command: "sh", args, screen: true });
    const { nextSeq } = await agent.waitForScreen(shell.shellId, "ready");
    const first = await shell.readScreen();
    const next = shell.readScreen({ after: nextSeq });
    shell.stream.write(" and more");
    const more = await next;
    const controller = new AbortController();
    const waiting = failure(shell.readScreen({ after: more.nextSeq, signal: controller.signal }));
    // It has arrived.
    await shell.readScreen();
    controller.abort();
    const codes = [(await waiting).code];
    codes.push((await failure(shell.readScreen({ nonsense: 1 }))).code);
    codes.push((await failure(shell.readScreen({ signal: AbortSignal.abort() }))).code);
    codes.push((await failure(shell.readScreen({ signal: 1 }))).code);
    for (const of of [{ pid: 1 }, { shellId: 1 }, null]) codes.push((await failure(agent.handleReadScreen(of))).code);
    await shell.close();
    codes.push((await shell.readScreen()).exited?.reason);
    return { lines: [first.lines[0], more.lines[0]], codes };
  });
  expect(seen.lines).toEqual(["ready", "ready and more"]);
  const invalid = "INVALID_ARGUMENT";
  expect(seen.codes).toEqual(["ABORTED", invalid, "ABORTED", invalid, invalid, invalid, invalid, "signal"]);
});
