"use strict";
const { createServer } = require("node:http");

const { serve } = require("./fixture/guest-servers");
const { rejection } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
  await serve(
    vm,
    `const answer = (port) => async (request, response) => {
      const { pathname, searchParams } = new URL(request.url, "http://x");
      const to = searchParams.get("to");
      if (to !== null) return response.writeHead(Number(pathname.slice(1)), { location: to }).end("moved");
      if (pathname === "/none") return response.writeHead(302).end("nowhere");
      let body = "";
      for await (const chunk of request) body += chunk;
      const { method, url, headers } = request;
      response.end(JSON.stringify({ port, method, url, headers, body }));
    };
    http.createServer(answer(3001)).listen(3001, () => http.createServer(answer(3000)).listen(3000, up))`,
  );
});

const via = (status, to) => `/${status}?to=${encodeURIComponent(to)}`;

test.each([301, 302, 303, 307, 308])("a redirect of status %d is followed", async (status) => {
  const response = await vm.fetch(3000, via(status, "/there"));
  expect(response).toMatchObject({ status: 200, redirected: true, url: "http://localhost:3000/there" });
  expect(await response.json()).toMatchObject({ method: "GET", url: "/there" });
});

test.each([
  [301, "POST", "GET", ""],
  [302, "POST", "GET", ""],
  [303, "PUT", "GET", ""],
  [302, "PUT", "PUT", "body"],
  [307, "POST", "POST", "body"],
  [308, "POST", "POST", "body"],
])("after %d a %s becomes a %s", async (status, method, next, body) => {
  const headers = { "content-type": "text/x", "x-mine": "1" };
  const got = await (await vm.fetch(3000, via(status, "/there"), { method, body: "body", headers })).json();
  expect(got).toMatchObject({ method: next, body, headers: { "x-mine": "1" } });
  expect(got.headers["content-type"]).toBe(body ? "text/x" : undefined);
});

test("a short body of a Request goes again, a stream cannot", async () => {
  const target = `http://localhost${via(307, "/there")}`;
  const again = await vm.fetch(3000, new Request(target, { method: "POST", body: "short" }));
  expect(await again.json()).toMatchObject({ method: "POST", body: "short" });
  const stream = new Blob(["x"]).stream();
  const error = await rejection(vm.fetch(3000, target, { method: "POST", body: stream, duplex: "half" }));
  expect(error).toMatchObject({ name: "AgentVmError", code: "EPROTO" });
  expect(error.message).toContain("stream");
});

test("every way to name the port itself is followed", async () => {
  for (const to of ["there", "?", "//localhost:3000/", "http://127.0.0.1:3000/", "http://[::1]:3000/#x"]) {
    const response = await vm.fetch(3000, via(302, to));
    expect([to, response.redirected]).toEqual([to, true]);
    await response.body.cancel();
  }
  // A made-up host name still means this port.
  const named = await vm.fetch(3000, `http://my-site.example${via(302, "http://my-site.example/there")}`);
  expect(await named.json()).toMatchObject({ port: 3000, headers: { host: "my-site.example" } });
});

test("where another host or port is named, the redirect itself is the response, and nothing is asked there", async () => {
  let visits = 0;
  const host = createServer((_, response) => {
    visits++;
    response.end("from the host");
  });
  await new Promise((resolve) => {
    host.listen(0, "127.0.0.1", resolve);
  });
  try {
    const { port } = host.address();
    for (const to of [
      `http://127.0.0.1:${port}/`,
      `http://localhost:${port}/`,
      "http://localhost:3001/",
      "http://example.com/",
      "https://localhost:3000/",
      "file:///etc/passwd",
    ]) {
      const response = await vm.fetch(3000, via(302, to));
      expect(response).toMatchObject({ status: 302, redirected: false });
      expect(response.headers.get("location")).toBe(to);
      expect(await response.text()).toBe("moved");
    }
    expect(visits).toBe(0);
    // A request for that very port goes to the VM, where nothing listens.
    expect(await rejection(vm.fetch(port, `http://127.0.0.1:${port}/`))).toMatchObject({ code: "ECONNREFUSED" });
    expect(visits).toBe(0);
  } finally {
    host.close();
  }
});

test("credentials are not sent to another name of the port", async () => {
  const headers = { authorization: "Bearer x", cookie: "a=b", "x-mine": "1" };
  const same = await (await vm.fetch(3000, via(302, "/there"), { headers })).json();
  expect(same.headers).toMatchObject(headers);
  const other = await (await vm.fetch(3000, via(302, "http://127.0.0.1:3000/there"), { headers })).json();
  expect(other.headers).toMatchObject({ host: "127.0.0.1:3000", "x-mine": "1" });
  expect(Object.keys(other.headers)).toEqual(expect.not.arrayContaining(["authorization", "cookie"]));
});

test("the caller can follow no redirect, or refuse all", async () => {
  const manual = await vm.fetch(3000, via(302, "/there"), { redirect: "manual" });
  expect(manual).toMatchObject({ status: 302, redirected: false });
  expect(manual.headers.get("location")).toBe("/there");
  expect(await rejection(vm.fetch(3000, via(302, "/there"), { redirect: "error" }))).toMatchObject({ code: "EPROTO" });
});

test("20 redirects are followed, and no more", async () => {
  let to = "/there";
  for (let i = 0; i < 5; i++) to = via(302, to);
  expect((await vm.fetch(3000, to)).status).toBe(200);
  // A redirect to itself, without end.
  const chain = await serve(
    vm,
    `let left = 20;
    http.createServer((request, response) => {
      if (request.url === "/loop") return response.writeHead(302, { location: "/loop" }).end();
      if (left-- > 0) return response.writeHead(302, { location: "/" }).end();
      response.end("there");
    }).listen(3002, up)`,
  );
  expect(await (await vm.fetch(3002, "/")).text()).toBe("there");
  expect(await rejection(vm.fetch(3002, "/loop"))).toMatchObject({ name: "AgentVmError", code: "ELOOP" });
  await vm.killProcess(chain);
});

test("a redirect to an invalid URL is an error; one without a location is a response", async () => {
  expect(await rejection(vm.fetch(3000, via(302, "http://")))).toMatchObject({ code: "EPROTO" });
  const response = await vm.fetch(3000, "/none");
  expect(response.status).toBe(302);
  expect(await response.text()).toBe("nowhere");
});
