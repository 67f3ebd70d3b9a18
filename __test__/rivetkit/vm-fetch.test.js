"use strict";

const { startServer } = require("../fixture/rivetkit/servers");

test("vmFetch asks a server in the actor's VM, and carries bytes both ways", async () => {
  const server = await startServer();
  const { got, refused } = await server.evaluate(async ({ agent, failure }) => {
    const source = `require("http").createServer((request, response) => {
      const chunks = [];
      request.on("data", (chunk) => chunks.push(chunk)).on("end", () => {
        response.writeHead(201, "Made", { "x-seen": request.method + " " + request.url + " " + request.headers["x-mine"] });
        response.end(Buffer.concat([Buffer.from([0, 255]), ...chunks]));
      });
    }).listen(3000, () => console.log("up"))`;
    await agent.writeFile("/home/user/server.js", source);
    const up = new Promise((resolve) => agent.on("processOutput", resolve));
    const { pid } = await agent.spawn("node", ["/home/user/server.js"]);
    await up;
    const options = { method: "PUT", headers: { "x-mine": "1" }, body: new Uint8Array([1, 2]) };
    const { status, statusText, headers, body } = await agent.vmFetch(3000, "/a?b", options);
    const refused = await failure(agent.vmFetch(3001, "http://localhost/"));
    await agent.killProcess(pid);
    return { got: { status, statusText, seen: headers["x-seen"], body: [...body] }, refused };
  });
  expect(got).toEqual({ status: 201, statusText: "Made", seen: "PUT /a?b 1", body: [0, 255, 1, 2] });
  expect(refused).toMatchObject({ group: "user", code: "ECONNREFUSED" });
});
