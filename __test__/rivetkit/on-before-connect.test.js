"use strict";
// Every way to call an actor, and whether the actor's onBeforeConnect is called for it.

const { startServer } = require("../fixture/rivetkit/servers");

let server;
let actorId;
let inspectorToken;
beforeAll(async () => {
  server = await startServer();
  await server.evaluate(({ agent }) => agent.exec("true"));
  // The engine gives the actors to every client that asks, if it has no token.
  const { actors } = await ask("actors?namespace=default&name=vm");
  actorId = actors[0].actor_id;
  const { value } = await ask(`actors/${actorId}/kv/keys/Aw==?namespace=default`);
  inspectorToken = Buffer.from(value, "base64").toString();
});

async function ask(path, { body, headers = {} } = {}) {
  const response = await fetch(`${server.engine.endpoint}/${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { "content-type": "application/json", "x-rivet-encoding": "json", ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return response.json();
}

const inspector = (action, args) =>
  ask(`gateway/${actorId}/inspector/action/${action}`, {
    body: { args },
    headers: { authorization: `Bearer ${inspectorToken}` },
  });
const action = (name, args, params) =>
  ask(`gateway/${actorId}/action/${name}`, {
    body: { args },
    headers: params ? { "x-rivet-conn-params": JSON.stringify(params) } : {},
  });

test("the inspector, with the token that the engine gives out, calls no action", async () => {
  // The token is the right one.
  const { rpcs } = await ask(`gateway/${actorId}/inspector/rpcs`, {
    headers: { authorization: `Bearer ${inspectorToken}` },
  });
  expect(rpcs).toContain("exec");
  const begin = { id: "inspector-1", method: "exec", incarnation: "", args: ["id"], done: [] };
  for (const [name, args] of [
    ["exec", ["touch /home/user/inspected"]],
    ["writeFile", ["/home/user/inspected", ""]],
    ["agentVmHello", []],
    ["agentVmBegin", [begin]],
    ["agentVmFollow", ["inspector-1", ""]],
    ["agentVmPart", ["inspector-1", 0, "AAAA"]],
    ["agentVmPiece", ["inspector-1", 0]],
    ["agentVmPositions", []],
    ["agentVmTake", ["inspector-1", "", 0]],
    ["agentVmAbort", ["inspector-1", ""]],
  ]) {
    expect([name, await inspector(name, args)]).toEqual([name, expect.objectContaining({ code: "FORBIDDEN" })]);
  }
  const { output } = await action("exists", ["/home/user/inspected"]);
  expect(output).toBe(false);
});

test("the hook is asked for HTTP calls and for connections, and what it refuses is not done", async () => {
  const refused = { refuse: true };
  expect(await action("writeFile", ["/home/user/refused", ""], refused)).not.toHaveProperty("output");
  const over = await server.evaluate(
    async ({ client, createPlainClient, endpoint, failure }, params = { refuse: true }) => {
      const plain = createPlainClient(endpoint).vm.getOrCreate(["test"], { params });
      const connection = plain.connect();
      const seen = await Promise.all([
        failure(client.vm.getOrCreate(["test"], { params }).writeFile("/home/user/refused", "")),
        failure(plain.writeFile("/home/user/refused", "")),
        failure(
          Promise.race([
            connection.writeFile("/home/user/refused", ""),
            new Promise((_resolve, reject) => connection.onError(reject)),
          ]),
        ),
      ]);
      await connection.dispose();
      return seen;
    },
  );
  for (const each of over) expect(each).not.toHaveProperty("resolved");
  // The other routes lead to nothing either.
  for (const route of ["request/x", "websocket/x"]) {
    const { status } = await fetch(`${server.engine.endpoint}/gateway/${actorId}/${route}`);
    expect([route, status >= 400]).toEqual([route, true]);
  }
  const { output } = await action("exists", ["/home/user/refused"]);
  expect(output).toBe(false);
});

test("an engine with a token of its own gives the inspector's token to nobody without it, and clients need none", async () => {
  const token = "an-engine-token-of-the-test";
  const guarded = await startServer({ env: { RIVET__AUTH__ADMIN_TOKEN: token, RIVET_TOKEN: token } });
  const { stdout } = await guarded.evaluate(({ agent }) => agent.exec("echo here"));
  expect(stdout).toBe("here\n");
  const api = (path, headers = {}) => fetch(`${guarded.engine.endpoint}/${path}`, { headers });
  const list = "actors?namespace=default&name=vm";
  const { actors } = await (await api(list, { authorization: `Bearer ${token}` })).json();
  const key = `actors/${actors[0].actor_id}/kv/keys/Aw==?namespace=default`;
  expect([(await api(list)).status, (await api(key)).status]).toEqual([403, 403]);
  expect((await api(key, { authorization: `Bearer ${token}` })).status).toBe(200);
});
