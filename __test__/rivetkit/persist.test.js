"use strict";

const { spawnSync } = require("node:child_process");
const { existsSync, readFileSync, readdirSync } = require("node:fs");
const { join } = require("node:path");
const { directoryForFile } = require("../fixture/directory");
const { startServer } = require("../fixture/rivetkit/servers");

test("a kept home survives sleep, and is removed when the actor is destroyed", async () => {
  const directory = join(directoryForFile(), "homes");
  const server = await startServer({ agent: { sleepTimeout: 1000, options: { persist: { directory } } } });
  const id = await server.evaluate(async ({ agent, client }) => {
    await agent.exec("echo kept > note; echo lost > /tmp/note; mkdir -p locked/deep && chmod 0 locked");
    await client.vm.getOrCreate(["other"]).exec("echo other > note");
    return agent.resolve();
  });
  expect(readFileSync(join(directory, id, "note"), "utf8")).toBe("kept\n");
  expect(readdirSync(directory)).toHaveLength(2);

  await server.asleep();
  const seen = await server.evaluate(({ agent }) => agent.exec("cat note; ls /tmp"));
  expect(seen.stdout).toBe("kept\n");

  // As an operator or rivetkit's dashboard does it.
  await fetch(`${server.engine.endpoint}/actors/${id}?namespace=default`, { method: "DELETE" });
  await server.said("destroy");
  await server.until(() => !existsSync(join(directory, id)), "removal of the home");
  expect(readdirSync(directory)).toHaveLength(1);
  // The next actor with that name starts with an empty home.
  const fresh = await server.evaluate(({ agent }) => agent.exec("ls"));
  expect(fresh.stdout).toBe("");
});

test("a home is removed with its actor, whatever the guest left in it", async () => {
  const directory = join(directoryForFile(), "homes");
  const server = await startServer({ agent: { sleepTimeout: 1000, options: { persist: { directory } } } });
  const id = await server.evaluate(async ({ agent }) => {
    const script = `
import os
os.mkdir(b"caf\\xe9")
for depth in range(60):
    os.mkdir("x" * 200)
    os.mkdir("closed", 0)
    os.chdir("x" * 200)
open(b"\\xff", "w").close()`;
    const { exitCode, stderr } = await agent.execFile("python3", ["-c", script]);
    if (exitCode !== 0) throw new Error(stderr);
    return agent.resolve();
  });
  expect(readdirSync(join(directory, id)).length).toBeGreaterThan(2);
  await fetch(`${server.engine.endpoint}/actors/${id}?namespace=default`, { method: "DELETE" });
  await server.said("destroy");
  await server.until(() => !existsSync(join(directory, id)), "removal of the home");
  expect(readdirSync(directory)).toEqual([]);
});

test.each([
  [{ persist: { directory: "homes" } }, "must be an absolute path, not homes"],
  [{ home: "/srv/home", persist: { directory: "/srv/homes" } }, "give one of them"],
])("what persist cannot be is said where the actor is defined: %j", (options, message) => {
  const script = `import { agentOs } from "agent-vm/rivetkit"; agentOs({ options: ${JSON.stringify(options)} })`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", script], { cwd: __dirname });
  expect(status).toBe(1);
  expect(stderr.toString()).toContain(message);
});
