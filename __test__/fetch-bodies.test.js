"use strict";
const { serve } = require("./fixture/guest-servers");
const { rejection, until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { bootForFile } = require("./fixture/vm");

const MIB = 1024 * 1024;

let vm;
let said = "";
beforeAll(async () => {
  vm = await bootForFile();
  vm.on("processOutput", ({ data }) => (said += data));
  await serve(
    vm,
    `const MIB = 1024 * 1024;
    const text = "the quick brown fox ".repeat(5000);
    const encoders = {
      gzip: zlib.gzipSync, "x-gzip": zlib.gzipSync, deflate: zlib.deflateSync, raw: zlib.deflateRawSync,
      br: zlib.brotliCompressSync, identity: (bytes) => bytes,
    };
    http.createServer(async (request, response) => {
      const { pathname, searchParams } = new URL(request.url, "http://x");
      response.on("close", () => console.log("closed " + pathname));
      if (pathname === "/echo") return request.pipe(response);
      if (pathname === "/count") {
        let bytes = 0;
        for await (const chunk of request) bytes += chunk.length;
        return response.end(String(bytes));
      }
      if (pathname === "/endless") {
        let sent = 0;
        const chunk = Buffer.alloc(65536, 1);
        const more = () => { while (response.write(chunk)) sent += chunk.length; sent += chunk.length; console.log("sent " + sent); };
        response.on("drain", more);
        return more();
      }
      if (pathname === "/drip") {
        for (const part of ["one", "two", "three"]) { response.write(part); await new Promise((go) => (global.go = go)); }
        return response.end();
      }
      if (pathname === "/go") { global.go(); return response.end(); }
      if (pathname === "/cut") { response.writeHead(200, { "content-length": 100 }).write("some"); return setTimeout(() => request.socket.destroy(), 50); }
      if (pathname === "/until-closed") return request.socket.end("HTTP/1.0 200 OK\\r\\n\\r\\nno length at all");
      if (pathname === "/large") return response.end(Buffer.alloc(64 * MIB, "x"));
      if (pathname === "/gone") return request.socket.destroy();
      if (pathname === "/early") return response.writeHead(413).end("too much");
      const given = searchParams.get("as").split(",");
      const bytes = given.reduce((all, name) => encoders[name](all), Buffer.from(text));
      response.setHeader("content-encoding", searchParams.get("named") ?? given.join(", "));
      response.end(pathname === "/half" ? bytes.subarray(0, bytes.length >> 1) : pathname === "/broken" ? Buffer.from("x".repeat(99)) : bytes);
    }).listen(3000, up)`,
  );
});

const text = "the quick brown fox ".repeat(5000);

test("a response is read chunk by chunk, as it arrives", async () => {
  const { body } = await vm.fetch(3000, "/drip");
  const reader = body.getReader();
  const read = async () => Buffer.from((await reader.read()).value).toString();
  for (const part of ["one", "two", "three"]) {
    expect(await read()).toBe(part);
    await vm.fetch(3000, "/go");
  }
  expect((await reader.read()).done).toBe(true);
});

test("a reader may bring its own buffer, as for any body of fetch", async () => {
  const { body } = await vm.fetch(3000, "/echo", { method: "POST", body: "abcdef" });
  const reader = body.getReader({ mode: "byob" });
  const { value } = await reader.read(new Uint8Array(4));
  expect(Buffer.from(value).toString()).toBe("abcd");
  expect(Buffer.from((await reader.read(new Uint8Array(9))).value).toString()).toBe("ef");
  expect((await reader.read(new Uint8Array(9))).done).toBe(true);
});

test("a request body is sent while it is produced, and the response may come before its end", async () => {
  const pass = new TransformStream();
  const writer = pass.writable.getWriter();
  const pending = vm.fetch(3000, "/echo", { method: "POST", body: pass.readable, duplex: "half" });
  await writer.write(Buffer.from("first"));
  const reader = (await pending).body.getReader();
  expect(Buffer.from((await reader.read()).value).toString()).toBe("first");
  await writer.write(Buffer.from("second"));
  expect(Buffer.from((await reader.read()).value).toString()).toBe("second");
  await writer.close();
  expect((await reader.read()).done).toBe(true);
});

test("a Request that streams, and an async iterable, are streamed", async () => {
  const stream = () =>
    new ReadableStream({
      async start(controller) {
        for (let i = 0; i < 3; i++) {
          controller.enqueue(Buffer.from(`${i}`));
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        controller.close();
      },
    });
  const request = new Request("http://localhost/echo", { method: "PUT", body: stream(), duplex: "half" });
  expect(await (await vm.fetch(3000, request)).text()).toBe("012");
  const iterable = (async function* () {
    yield Buffer.from("a");
    yield Buffer.from("b");
  })();
  expect(await (await vm.fetch(3000, "/echo", { method: "PUT", body: iterable, duplex: "half" })).text()).toBe("ab");
});

test("64 MiB can be sent and received", async () => {
  const up = await vm.fetch(3000, "/count", { method: "POST", body: Buffer.alloc(64 * MIB, 1) });
  expect(await up.text()).toBe(String(64 * MIB));
  const request = new Request("http://localhost/count", { method: "POST", body: Buffer.alloc(8 * MIB, 1) });
  expect(await (await vm.fetch(3000, request)).text()).toBe(String(8 * MIB));
  const down = await (await vm.fetch(3000, "/large")).arrayBuffer();
  expect(down.byteLength).toBe(64 * MIB);
  expect(Buffer.from(down).every((byte) => byte === 120)).toBe(true);
});

test("a body that nobody reads stops the server, and cancelling it closes the connection", async () => {
  const response = await vm.fetch(3000, "/endless");
  await until(() => /sent \d+/.test(said));
  let before;
  // The server stops: the kernel and this process hold everything that it wrote.
  await until(async () => {
    before = said.match(/sent \d+/g).at(-1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    return said.match(/sent \d+/g).at(-1) === before;
  });
  expect(Number(before.slice(5))).toBeLessThan(32 * MIB);
  await response.body.cancel();
  await until(() => said.includes("closed /endless"));
});

test("a response that was garbage collected closes its connection, whether or not it was read", async () => {
  const server = nodeScript(
    `const vm = await AgentVm.create();
    const source = 'require("http").createServer((q, s) => { s.on("close", () => console.log("closed")); s.write("x".repeat(1e6)) }).listen(3000, () => console.log("up"))';
    let closed = 0;
    const up = new Promise((resolve) => vm.on("processOutput", ({ data }) => {
      const text = String(data);
      if (text.includes("up")) resolve();
      closed += text.split("closed").length - 1;
    }));
    await vm.spawn("node", ["-e", source]);
    await up;
    const refs = [];
    const one = async (use) => { const response = await vm.fetch(3000, "/"); await use(response); };
    await one(() => {});
    await one((response) => response.body.getReader().read());
    await one((response) => response.clone().body.getReader().read());
    for (let i = 0; i < 3000 && closed < 3; i++) { gc(); await new Promise((resolve) => setTimeout(resolve, 20)); }
    console.log(closed);
    await vm.dispose();`,
    { flags: ["--expose-gc"] },
  );
  expect(await server.ended).toMatchObject({ stdout: "3", stderr: "" });
});

test.each(["gzip", "x-gzip", "deflate", "br", "identity", "gzip,br", "deflate,gzip"])(
  "a body encoded as %s is decoded",
  async (encoding) => {
    const response = await vm.fetch(3000, `/encoded?as=${encoding}`);
    expect(await response.text()).toBe(text);
    expect(response.headers.get("content-encoding")).toBe(encoding.replaceAll(",", ", "));
  },
);

test("deflate is decoded even without its header and in capitals; an unknown encoding is not decoded", async () => {
  expect(await (await vm.fetch(3000, "/encoded?as=raw&named=DEFLATE")).text()).toBe(text);
  expect(await (await vm.fetch(3000, "/encoded?as=identity&named=rot13")).text()).toBe(text);
});

test("a truncated encoded body yields the part that arrived, as in fetch; an invalid one is an error", async () => {
  const half = await (await vm.fetch(3000, "/half?as=gzip")).text();
  expect(text.startsWith(half)).toBe(true);
  for (const encoding of ["gzip", "deflate", "br"]) {
    const response = await vm.fetch(3000, `/broken?as=${encoding}`);
    expect(await rejection(response.text())).toMatchObject({ name: "AgentVmError", code: "EPROTO" });
  }
  const often = Array.from({ length: 3 }, () => "gzip").join();
  expect(await rejection(vm.fetch(3000, `/encoded?as=${often}`))).toMatchObject({ code: "EPROTO" });
});

test("a response that breaks off is an error of its body", async () => {
  const response = await vm.fetch(3000, "/cut");
  const reader = response.body.getReader();
  expect(Buffer.from((await reader.read()).value).toString()).toBe("some");
  const error = await rejection(reader.read());
  expect(error).toMatchObject({ name: "AgentVmError", code: "ECONNRESET" });
  expect(error.message).toContain("3000");
});

test("a response that ends with its connection is complete", async () => {
  expect(await (await vm.fetch(3000, "/until-closed")).text()).toBe("no length at all");
});

test("a server may respond before the request has ended, and the rest of the request is cancelled", async () => {
  let cancelled;
  const body = new ReadableStream({
    pull: (controller) => {
      controller.enqueue(Buffer.alloc(1000));
      return new Promise((resolve) => setTimeout(resolve, 10));
    },
    cancel: () => (cancelled = true),
  });
  const response = await vm.fetch(3000, "/early", { method: "POST", body, duplex: "half" });
  expect(response.status).toBe(413);
  expect(await response.text()).toBe("too much");
  await until(() => cancelled);
});

test("an early response is read even if the connection broke while the request was still being sent", async () => {
  let cancelled;
  let pulls = 0;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const body = new ReadableStream({
    pull: (controller) => {
      // The connection is not read meanwhile: when the next chunk is written, the server has responded and closed it.
      if (pulls++ > 0) Atomics.wait(pause, 0, 0, 50);
      controller.enqueue(Buffer.alloc(1000));
    },
    cancel: () => (cancelled = true),
  });
  const response = await vm.fetch(3000, "/early", { method: "POST", body, duplex: "half" });
  expect(response.status).toBe(413);
  expect(await response.text()).toBe("too much");
  await until(() => cancelled);
  // The rest of an endless request is no longer read.
  const before = pulls;
  await vm.fetch(3000, "/early");
  expect(pulls).toBe(before);
});

test("a connection that breaks before the response, while the request is being sent, is an error", async () => {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  let cancelled;
  const body = new ReadableStream({
    pull: (controller) => {
      Atomics.wait(pause, 0, 0, 50);
      controller.enqueue(Buffer.alloc(1000));
    },
    cancel: () => (cancelled = true),
  });
  const error = await rejection(vm.fetch(3000, "/gone", { method: "POST", body, duplex: "half" }));
  expect(error).toMatchObject({ name: "AgentVmError", code: "ECONNRESET" });
  await until(() => cancelled);
});

test("a body that fails, or that is not bytes, fails the call", async () => {
  const failing = new ReadableStream({ start: (controller) => controller.error(new Error("my own")) });
  const error = await rejection(vm.fetch(3000, "/count", { method: "POST", body: failing, duplex: "half" }));
  expect(error).toMatchObject({ name: "AgentVmError", code: "EIO", cause: { message: "my own" } });
  expect(error.message).toContain("my own");
  const words = new ReadableStream({ start: (controller) => controller.enqueue("text") });
  expect(await rejection(vm.fetch(3000, "/count", { method: "POST", body: words, duplex: "half" }))).toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  for (const stream of [failing, words]) expect(stream.locked).toBe(true);
});
