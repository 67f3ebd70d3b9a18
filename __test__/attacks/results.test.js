"use strict";
// Results that no JavaScript value can hold, each in a separate server: none of them may end the server.

const { root } = require("../fixture/project");
const { nodeScript } = require("../fixture/server-process");

/** The JSON that a server prints; the server must exit by itself. */
async function printed(source) {
  const { code, signal, stdout, stderr } = await nodeScript(source).ended;
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: "" });
  return JSON.parse(stdout);
}

test("a result that is too large for JavaScript rejects its own call, and no other", async () => {
  // The public calls bound their results, so this calls the addon directly.
  const seen = await printed(`
    const { Calls } = require(${JSON.stringify(`${root}/lib/calls`)});
    const { bootRequest } = require(${JSON.stringify(`${root}/lib/options/boot-request`)});
    const { checkOptions } = require(${JSON.stringify(`${root}/lib/options/create`)});
    const calls = new Calls(() => {});
    await calls.ask("boot", bootRequest(checkOptions({})));
    const sh = (command, maxOutputBytes) =>
      calls.exec(["/bin/sh", "-c", command].join("\\0"), { env: [], timeout: 0, killGrace: 0, headBytes: maxOutputBytes, tailBytes: 0, bytes: false, streams: false });
    const other = sh("sleep 0.5; echo other", 1000);
    const error = await sh("head -c 540000000 /dev/zero | tr '\\\\0' x", 600_000_000).then(() => undefined, (each) => each);
    const { code, message } = error ?? {};
    const [first, second] = [(await other).stdout, (await sh("echo still here", 1000)).stdout];
    console.log(JSON.stringify({ code, message, first, second, active: calls.active }));
    await calls.dispose();`);
  expect(seen).toMatchObject({ code: "LIMIT_EXCEEDED", message: expect.stringContaining("536870888") });
  expect(seen).toMatchObject({ first: "other\n", second: "still here\n", active: 0 });
}, 120_000);

test("a listing of directories that a guest nested ends its own call, and no server", async () => {
  const nest = `
import os
os.mkdir("deep")
os.chdir("deep")
for _ in range(850):
    os.mkdir("\\x01" * 255)
    os.chdir("\\x01" * 255)`;
  const seen = await printed(`
    const [vm, other] = await Promise.all([AgentVm.create(), AgentVm.create()]);
    const { exitCode } = await vm.execFile("python3", ["-c", ${JSON.stringify(nest)}]);
    const code = await vm.readdirRecursive("/home/user").then(() => "resolved", (error) => error.code);
    const { stdout } = await other.exec("echo still here");
    console.log(JSON.stringify({ exitCode, code, stdout }));
    await Promise.all([vm.dispose(), other.dispose()]);`);
  expect(seen).toEqual({ exitCode: 0, code: "LIMIT_EXCEEDED", stdout: "still here\n" });
}, 120_000);
