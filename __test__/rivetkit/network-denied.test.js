"use strict";

const { startServer } = require("../fixture/rivetkit/servers");

test("a connection that the network option refuses causes an event of the actor", async () => {
  const server = await startServer({ agent: { options: { network: { allow: ["registry.npmjs.org:443"] } } } });
  const { denied, stdout } = await server.evaluate(async ({ agent, until }) => {
    const denied = [];
    agent.on("networkDenied", (event) => denied.push(event));
    const { stdout } = await agent.exec("curl -sS http://elsewhere.test/");
    await until(() => denied.length > 0);
    return { denied, stdout };
  });
  expect(stdout).toContain("refuses elsewhere.test:80");
  expect(denied).toEqual([
    { host: "elsewhere.test", port: 80, reason: "it is not in the list of allowed destinations" },
  ]);
});
