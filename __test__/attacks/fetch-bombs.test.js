"use strict";
// Bodies that a hostile server in a VM encodes so that decoding costs the server of VMs time or memory.

const { existsSync } = require("node:fs");
const path = require("node:path");

const { serve } = require("../fixture/guest-servers");
const { root } = require("../fixture/project");
const { rejection, until } = require("../fixture/promises");
const { nodeScript } = require("../fixture/server-process");
const { boot } = require("../fixture/vm");

/** Makes each bomb once: gzip around `inner`, as many times as requested. */
const BOMBS = `
  // 2 GB of empty stored blocks of deflate (RFC 1951, 3.2.4), in a gzip member, without an end.
  const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
  const block = Buffer.from([0, 0, 0, 0xff, 0xff]);
  const blocks = Buffer.concat(Array(200000).fill(block));
  const members = Buffer.concat(Array(100000).fill(zlib.gzipSync("")));
  /** \`first\`, then \`inner\` many times, in one gzip member. */
  const gzipOf = (first, inner, times) => new Promise((resolve) => {
    const gzip = zlib.createGzip({ level: 9 }), chunks = [];
    gzip.on("data", (chunk) => chunks.push(chunk)).on("end", () => resolve(Buffer.concat(chunks)));
    gzip.write(first);
    let left = times;
    const more = () => { while (left-- > 0) if (!gzip.write(inner)) return gzip.once("drain", more); gzip.end(); };
    more();
  });
  const bombs = {};
  (async () => {
    bombs["/blocks"] = [await gzipOf(header, blocks, 100), "gzip, gzip"];
    bombs["/members"] = [await gzipOf("", members, 10), "gzip, gzip"];
    bombs["/zeros"] = [zlib.gzipSync(await gzipOf("", Buffer.alloc(1 << 20), 512)), "gzip, gzip"];
    bombs["/three"] = [zlib.gzipSync(bombs["/blocks"][0]), "gzip, gzip, gzip"];
    bombs["/plain-blocks"] = [Buffer.concat([header, ...Array(100).fill(blocks)]), "gzip"];
    bombs["/after-the-end"] = [Buffer.concat([zlib.deflateSync("text"), Buffer.alloc(64 << 20)]), "deflate"];
    http.createServer((request, response) => {
      const [bytes, encoding] = bombs[request.url];
      response.on("close", () => console.log("closed " + request.url));
      response.setHeader("content-encoding", encoding);
      response.end(bytes);
    }).listen(3000, up);
  })();`;

/** Milliseconds of processor time that this process uses while \`during\` runs. */
async function processorTime(during) {
  const before = process.cpuUsage();
  await during();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let vm;
beforeAll(async () => {
  vm = await require("../..").AgentVm.create();
  await serve(vm, BOMBS);
});
afterAll(() => vm.dispose());

test("an encoded body that nobody reads costs nothing", async () => {
  const responses = await Promise.all(
    ["/blocks", "/blocks", "/zeros", "/zeros", "/members"].map((at) => vm.fetch(3000, at)),
  );
  // An idle body costs nothing: half a second of four bombs took more than that, on as many threads.
  expect(await processorTime(() => sleep(1000))).toBeLessThan(400);
  await Promise.all(responses.map((response) => response.body.cancel()));
});

test.each(["/blocks", "/members", "/plain-blocks"])(
  "a decoder that takes much and gives nothing fails the body: %s",
  async (at) => {
    const response = await vm.fetch(3000, at);
    let error;
    const time = await processorTime(async () => (error = await rejection(response.text())));
    expect(error).toMatchObject({ name: "AgentVmError", code: "EPROTO" });
    expect(error.message).toContain("decode to nothing");
    expect(time).toBeLessThan(2000);
  },
);

test("a body that is encoded three times is refused before a byte of it is decoded", async () => {
  const error = await rejection(vm.fetch(3000, "/three"));
  expect(error).toMatchObject({ name: "AgentVmError", code: "EPROTO" });
  expect(error.message).toContain("encoded 3 times, which is more than 2");
});

test("what follows the end of an encoded body is not read", async () => {
  expect(await (await vm.fetch(3000, "/after-the-end")).text()).toBe("text");
});

test("an abort stops a body in the middle of being decoded, and its decoder", async () => {
  const controller = new AbortController();
  const response = await vm.fetch(3000, "/zeros", { signal: controller.signal });
  const reader = response.body.getReader();
  let bytes = 0;
  const reading = rejection(
    (async () => {
      for (let next; !(next = await reader.read()).done;) bytes += next.value.length;
    })(),
  );
  await until(() => bytes > 4 << 20);
  controller.abort();
  expect(await reading).toMatchObject({ name: "AgentVmError", code: "ABORTED" });
  expect(bytes).toBeLessThan(512 << 20);
  await sleep(100);
  expect(await processorTime(() => sleep(500))).toBeLessThan(250);

  const other = new AbortController();
  const text = rejection((await vm.fetch(3000, "/zeros", { signal: other.signal })).text());
  await sleep(20);
  other.abort();
  expect(await text).toMatchObject({ name: "AgentVmError", code: "ABORTED" });
});

test("an abort before the first read fails that read, though the whole body is here", async () => {
  const controller = new AbortController();
  const response = await vm.fetch(3000, "/zeros", { signal: controller.signal });
  controller.abort();
  expect(await rejection(response.text())).toMatchObject({ name: "AgentVmError", code: "ABORTED" });
});

test("dispose stops a body in the middle of being decoded", async () => {
  const one = await boot();
  await serve(one, BOMBS);
  const reader = (await one.fetch(3000, "/zeros")).body.getReader();
  await reader.read();
  await one.dispose();
  const rest = rejection(
    (async () => {
      while (!(await reader.read()).done);
    })(),
  );
  expect(await rest).toMatchObject({ name: "AgentVmError", code: "VM_DISPOSED" });
});

const node22 = path.join(root, `node_modules/.cache/agent-vm/node-22/node_modules/node-linux-${process.arch}/bin/node`);

test("zstd with a window of more than 8 MiB is refused, and with 8 MiB decoded", async () => {
  // Node.js has zstd since 22.15.
  const own = require("node:zlib").createZstdDecompress !== undefined;
  expect(own || existsSync(node22)).toBe(true);
  const script = nodeScript(
    `
    const http = require("node:http"), zlib = require("node:zlib"), { text } = require("node:stream/consumers");
    const { ZSTD_c_windowLog, ZSTD_c_contentSizeFlag } = zlib.constants;
    const vm = await AgentVm.create({ mounts: [{ path: "/opt/node22", hostPath: process.execPath }] });
    let said = "";
    vm.on("processOutput", ({ data }) => (said += data));
    const source = \`
      const zlib = require("zlib"), { ZSTD_c_windowLog } = zlib.constants;
      require("http").createServer((request, response) => {
        const windowLog = Number(request.url.slice(1));
        const encoder = zlib.createZstdCompress({ params: { [ZSTD_c_windowLog]: windowLog } });
        response.setHeader("content-encoding", "zstd");
        encoder.pipe(response);
        for (let left = 20; left > 0; left--) encoder.write(Buffer.alloc(1 << 20));
        encoder.end();
      }).listen(3000, () => console.log("up"));\`;
    await vm.spawn("/opt/node22", ["-e", source]);
    while (!said.includes("up")) await new Promise((resolve) => setTimeout(resolve, 10));
    const results = [];
    for (const log of [23, 27]) {
      const response = await vm.fetch(3000, "/" + log);
      results.push(await response.arrayBuffer().then((bytes) => bytes.byteLength, (error) => error.code));
    }
    console.log(JSON.stringify(results));
    await vm.dispose();`,
    own ? {} : { prefix: ["env", `NODE22=${node22}`, "sh", "-c", 'shift; exec "$NODE22" "$@"', "sh"] },
  );
  const { stdout, stderr } = await script.ended;
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual([20 << 20, "EPROTO"]);
});
