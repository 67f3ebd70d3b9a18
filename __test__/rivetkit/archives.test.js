"use strict";
// Archives of an actor's VM, with agent-vm/client.

const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("a tree goes in and out of an actor's VM as an archive of any size", async () => {
  const found = await server.evaluate(async ({ agent: patient, createClient, endpoint, failure }) => {
    await patient.exec("mkdir -p t/d && seq 1000000 > t/d/large && printf x > t/f && ln -s f t/l && chmod 750 t/d");
    // The other one makes promises of everything.
    const agent = createClient(endpoint).vm.getOrCreate(["test"]);
    const { once } = await import("node:events");
    const { buffer } = await import("node:stream/consumers");
    const { Readable } = await import("node:stream");
    const archive = await buffer(agent.readArchive("/home/user/t", { exclude: ["f"] }));
    const progress = [];
    const totals = await agent.writeArchive("/home/user/u", Readable.from([archive]), {
      onProgress: (each) => progress.push(each),
    });
    const { stdout } = await agent.exec("cd u && find . -printf '%y %m %P %l\\n' | sort && cmp d/large ../t/d/large");
    const codes = [];
    codes.push((await failure(buffer(agent.readArchive("/none")))).code);
    codes.push((await failure(agent.writeArchive("/home/user/v", Readable.from(["no archive"])))).code);
    codes.push((await failure(agent.writeArchive("/home/user/v", Readable.from([Buffer.alloc(700, 1)])))).code);
    // What has ended takes no place of what is opened next.
    let open = [];
    for (let round = 0; round < 20; round++) {
      for (const stream of open) stream.destroy();
      open = [agent.readArchive("/home/user/t"), agent.readArchive("/home/user/t")];
      await Promise.all(open.map((stream) => once(stream, "readable")));
    }
    codes.push((await failure(buffer(agent.readArchive("/home/user/t")))).code);
    const other = createClient(endpoint).vm.getOrCreate(["test"]);
    const [first] = await once(other.readArchive("/home/user/t"), "data");
    for (const stream of open) stream.destroy();
    return { totals, last: progress.at(-1), stdout, codes, first: first.length > 0, size: archive.length };
  });
  expect(found.stdout).toBe("d 750 d \nd 755  \nf 644 d/large \nl 777 l f\n");
  expect(found.totals).toEqual({ files: 1, directories: 1, links: 1, bytes: 6_888_896, skipped: 0 });
  expect(found.last).toEqual(found.totals);
  expect(found.codes).toEqual(["ENOENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "LIMIT_EXCEEDED"]);
  expect(found.first).toBe(true);
}, 120_000);
