"use strict";
const { serve } = require("./fixture/guest-servers");
const { rejection } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
  await serve(
    vm,
    `http.createServer((request, response) => {
      const path = request.url;
      const status = /^\\/status\\/(\\d+)$/.exec(path);
      if (status) return response.writeHead(Number(status[1])).end();
      if (path === "/headers") {
        response.setHeader("x-twice", ["a", "b"]);
        response.setHeader("set-cookie", ["one=1; Path=/", "two=2"]);
        response.writeHead(201, "Made up");
        return response.end("text");
      }
      const chunks = [];
      request.on("data", (chunk) => chunks.push(chunk)).on("end", () => {
        const body = Buffer.concat(chunks).toString("latin1");
        const { method, url, headers } = request;
        response.setHeader("content-type", "application/json");
        response.end(method === "HEAD" ? undefined : JSON.stringify({ method, url, headers, body }));
      });
    }).listen(3000, up)`,
  );
});

const asked = async (request, init) => (await vm.fetch(3000, request, init)).json();

test("a path, a URL and a Request are all answered", async () => {
  expect(await asked("/a/b?c=d#e")).toMatchObject({ method: "GET", url: "/a/b?c=d", body: "" });
  expect(await asked("a?b")).toMatchObject({ url: "/a?b" });
  expect(await asked("")).toMatchObject({ url: "/" });
  expect(await asked(new URL("http://localhost/x y"))).toMatchObject({ url: "/x%20y" });
  expect(await asked(new Request("http://localhost/r", { method: "DELETE" }))).toMatchObject({
    method: "DELETE",
    url: "/r",
  });
});

test("the call chooses the port; the URL's host is only sent in the Host header", async () => {
  const host = async (...args) => (await asked(...args)).headers.host;
  expect(await host("/")).toBe("localhost:3000");
  expect(await host("http://localhost/")).toBe("localhost");
  expect(await host("http://my-site.example:81/")).toBe("my-site.example:81");
  expect(await host("/", { headers: { host: "other" } })).toBe("other");
});

test("it resolves to a Response as fetch does", async () => {
  const response = await vm.fetch(3000, "/headers?a=b#c");
  expect(response).toBeInstanceOf(Response);
  expect(response).toMatchObject({
    status: 200,
    ok: true,
    redirected: false,
    url: "http://localhost:3000/headers?a=b",
  });
  const other = await vm.fetch(3000, "http://localhost/headers");
  expect(other).toMatchObject({ status: 201, statusText: "Made up", ok: true, url: "http://localhost/headers" });
  expect(other.headers.get("x-twice")).toBe("a, b");
  expect(other.headers.getSetCookie()).toEqual(["one=1; Path=/", "two=2"]);
  expect(await other.clone().text()).toBe("text");
  expect(await other.text()).toBe("text");
  await response.body.cancel();
});

test("headers are sent as given, except those of the connection", async () => {
  const headers = {
    "X-Mine": "ü",
    "content-length": "99",
    "transfer-encoding": "chunked",
    upgrade: "x",
    te: "trailers",
  };
  const got = await asked("/", { method: "PUT", headers, body: "abc" });
  expect(got.headers).toMatchObject({ "x-mine": "ü", "content-length": "3", connection: "close", accept: "*/*" });
  expect(Object.keys(got.headers)).toEqual(
    expect.not.arrayContaining(["transfer-encoding", "upgrade", "te", "keep-alive"]),
  );
});

test.each([
  ["text", "grüße", "text/plain;charset=UTF-8", Buffer.from("grüße").toString("latin1")],
  ["bytes", new Uint8Array([0, 255]), undefined, "\0\xff"],
  ["a view of a part of a buffer", Buffer.from("abcdef").subarray(1, 3), undefined, "bc"],
  ["an ArrayBuffer", new Uint8Array([1, 2]).buffer, undefined, "\x01\x02"],
  ["a Blob", new Blob(["blob"], { type: "text/x-b" }), "text/x-b", "blob"],
  ["URLSearchParams", new URLSearchParams({ a: "1 2" }), "application/x-www-form-urlencoded;charset=UTF-8", "a=1+2"],
  ["nothing at all", "", "text/plain;charset=UTF-8", ""],
])("a body of %s goes with its length and its type", async (_, body, type, sent) => {
  const got = await asked("/", { method: "POST", body });
  expect(got.body).toBe(sent);
  expect(got.headers["content-type"]).toBe(type);
  expect(got.headers["content-length"]).toBe(String(sent.length));
  // The same for a signal in a Request.
  const inside = await asked(new Request("http://localhost/", { method: "POST", body }));
  expect(inside.body).toBe(sent);
  expect(inside.headers["content-type"]).toBe(type);
});

test("a form is sent with its length", async () => {
  const form = new FormData();
  form.set("field", "value");
  form.set("file", new Blob(["content"]), "name.txt");
  const { headers, body } = await asked("/", { method: "POST", body: form });
  expect(headers["content-type"]).toMatch(/^multipart\/form-data; boundary=/);
  expect(headers["content-length"]).toBe(String(body.length));
  expect(body).toContain("name.txt");
  expect(body).toContain("content");
});

test("a Request's short body is sent with its length, for servers that cannot read chunks", async () => {
  const request = new Request("http://localhost/", { method: "POST", body: JSON.stringify({ a: 1 }) });
  const got = await asked(request);
  expect(got).toMatchObject({ body: '{"a":1}', headers: { "content-length": "7" } });
  expect(request.bodyUsed).toBe(true);
});

test("a POST without a body is sent with a length of 0", async () => {
  expect((await asked("/", { method: "POST" })).headers["content-length"]).toBe("0");
  expect(Object.keys((await asked("/")).headers)).not.toContain("content-length");
});

test.each([204, 205, 304])("a response of status %d has no body", async (status) => {
  const response = await vm.fetch(3000, `/status/${status}`);
  expect(response).toMatchObject({ status, body: null });
  expect(await response.text()).toBe("");
});

test("the response to HEAD has headers alone", async () => {
  const response = await vm.fetch(3000, "/", { method: "HEAD" });
  expect(response).toMatchObject({ status: 200, body: null });
  expect(response.headers.get("content-type")).toBe("application/json");
});

test("a status of failure is a response, not an error", async () => {
  expect(await vm.fetch(3000, "/status/404")).toMatchObject({ status: 404, ok: false });
  expect(await vm.fetch(3000, "/status/500")).toMatchObject({ status: 500, ok: false });
});

test("many requests at once each get their own response", async () => {
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, n) => asked(`/${n}`, { method: "POST", body: `${n}` })),
  );
  expect(answers.map(({ url, body }) => [url, body])).toEqual(answers.map((_, n) => [`/${n}`, `${n}`]));
});

test("activeCount does not count requests, neither during nor after them", async () => {
  const pending = vm.fetch(3000, "/");
  expect(vm.activeCount).toBe(1);
  await (await pending).text();
  expect(vm.activeCount).toBe(1);
});

test.each([
  ["no request", [3000], "request"],
  ["null", [3000, null], "request"],
  ["a number", [3000, 1], "request"],
  ["no URL", [3000, "http://"], "URL"],
  ["https", [3000, "https://localhost/"], "connect"],
  ["another scheme", [3000, "file:///etc/passwd"], "http:"],
  ["a URL with a password", [3000, "http://a:b@localhost/"], "credentials"],
  ["a GET with a body", [3000, "/", { body: "x" }], "GET"],
  ["a method that is none", [3000, "/", { method: "G T" }], "method"],
  ["a method that fetch refuses", [3000, "/", { method: "TRACE" }], "TRACE"],
  ["a header that is none", [3000, "/", { headers: { "a b": "c" } }], "a b"],
  ["a stream without duplex", [3000, "/", { method: "POST", body: new ReadableStream() }], "duplex"],
  ["a signal that is none", [3000, "/", { signal: {} }], "AbortSignal"],
  ["options that are none", [3000, "/", 1], "init"],
  ["a redirect mode that is none", [3000, "/", { redirect: "maybe" }], "maybe"],
  ["a port that is none", [0, "/"], "port"],
])("%s is an invalid argument", async (_, args, word) => {
  const error = await rejection(vm.fetch(...args));
  expect(error).toMatchObject({ name: "AgentVmError", code: "INVALID_ARGUMENT" });
  expect(error.message).toContain(word);
});

test("a path whose code points are half a surrogate pair, and a very long one, arrive as a URL writes them", async () => {
  expect(await asked("/\ud800")).toMatchObject({ url: "/%EF%BF%BD" });
  const long = `/${"x".repeat(8000)}`;
  expect(await asked(long)).toMatchObject({ url: long });
});
