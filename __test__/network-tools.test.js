"use strict";
// The programs with which agents download things, with a listed network: each against the test's own server.

const { execFileSync, spawn } = require("node:child_process");
const crypto = require("node:crypto");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { fetchingNode } = require("./fixture/fetching-node");
const { httpServer } = require("./fixture/host-servers");
const { boot, output } = require("./fixture/vm");

let directory;
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-test-"));
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

/** A VM that may connect to `port` of the host's loopback and to nothing else. */
async function bootFor(port, options) {
  const vm = await boot({ ...options, network: { allow: [`127.0.0.1:${port}`] } });
  const denied = [];
  vm.on("networkDenied", ({ host }) => denied.push(host));
  return { vm, denied };
}

/** Answers a request by running a CGI program (RFC 3875), here git's own server. */
function gitBackend(root) {
  return (request, response) => {
    const [pathInfo, query = ""] = request.url.split("?");
    const child = spawn("git", ["http-backend"], {
      env: {
        PATH: process.env.PATH,
        HOME: directory,
        GIT_PROJECT_ROOT: root,
        GIT_HTTP_EXPORT_ALL: "1",
        REQUEST_METHOD: request.method,
        PATH_INFO: pathInfo,
        QUERY_STRING: query,
        CONTENT_TYPE: request.headers["content-type"] ?? "",
        HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
        HTTP_GIT_PROTOCOL: request.headers["git-protocol"] ?? "",
        REMOTE_USER: "agent",
      },
      stdio: ["pipe", "pipe", "ignore"],
    });
    request.pipe(child.stdin.on("error", () => {}));
    const chunks = [];
    child.stdout.on("data", (data) => chunks.push(data));
    child.on("close", () => {
      const answer = Buffer.concat(chunks);
      const end = answer.indexOf("\r\n\r\n");
      const fields = answer.subarray(0, end).toString().split("\r\n");
      const headers = Object.fromEntries(fields.map((line) => line.split(": ")));
      response.writeHead(Number.parseInt(headers.Status ?? "200", 10), headers).end(answer.subarray(end + 4));
    });
  };
}

test("git can clone and push over HTTP", async () => {
  const git = (...args) => execFileSync("git", args, { cwd: directory, env: { ...process.env, HOME: directory } });
  git("init", "-q", "--bare", "-b", "main", "project.git");
  git("-C", "project.git", "config", "http.receivepack", "true");
  const port = await httpServer(gitBackend(directory));
  const { vm, denied } = await bootFor(port);
  const script = `
    git config --global user.name agent && git config --global user.email agent@example.com &&
    git clone -q http://127.0.0.1:${port}/project.git && cd project && git checkout -q -b main &&
    echo content > file && git add file && git commit -q -m first && git push -q origin main &&
    git clone -q http://127.0.0.1:${port}/project.git ../again && cat ../again/file`;
  expect(await output(vm, script)).toBe("content\n");
  expect(git("-C", "project.git", "log", "--format=%an %s", "main").toString()).toBe("agent first\n");
  const elsewhere = await vm.exec("git clone http://elsewhere.test/other.git");
  expect(elsewhere.stderr).toContain("403");
  expect(denied).toEqual(["elsewhere.test"]);
});

test("npm installs from a registry", async () => {
  const source = path.join(directory, "package");
  fs.mkdirSync(source);
  const manifest = { name: "tiny-package", version: "1.2.3", main: "index.js" };
  fs.writeFileSync(path.join(source, "package.json"), JSON.stringify(manifest));
  fs.writeFileSync(path.join(source, "index.js"), 'module.exports = "installed";\n');
  const tarball = execFileSync("tar", ["-czf", "-", "package"], { cwd: directory });
  const integrity = `sha512-${crypto.createHash("sha512").update(tarball).digest("base64")}`;
  const port = await httpServer((request, response) => {
    if (request.url === "/tiny-package") {
      const dist = { integrity, tarball: `http://127.0.0.1:${port}/tiny-package.tgz` };
      const versions = { "1.2.3": { ...manifest, dist } };
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ name: manifest.name, "dist-tags": { latest: "1.2.3" }, versions }));
    } else if (request.url === "/tiny-package.tgz") {
      response.end(tarball);
    } else {
      response.writeHead(404).end();
    }
  });
  const { vm, denied } = await bootFor(port);
  const options = `--registry http://127.0.0.1:${port} --no-audit --no-fund --no-update-notifier`;
  await output(vm, `mkdir project && cd project && echo '{}' > package.json && npm install ${options} tiny-package`);
  expect(await output(vm, "cd project && node -p 'require(`tiny-package`)'")).toBe("installed\n");
  expect(denied).toEqual([]);
});

test("pip installs from an index", async () => {
  const wheel = "tiny_package-1.2.3-py3-none-any.whl";
  const make = `
import zipfile
with zipfile.ZipFile("${wheel}", "w") as z:
    z.writestr("tiny_package.py", "WORD = 'installed'\\n")
    info = "tiny_package-1.2.3.dist-info/"
    z.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: tiny-package\\nVersion: 1.2.3\\n")
    z.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr(info + "RECORD", "tiny_package.py,,\\n" + info + "METADATA,,\\n" + info + "WHEEL,,\\n" + info + "RECORD,,\\n")`;
  execFileSync("/usr/bin/python3", ["-c", make], { cwd: directory });
  const content = fs.readFileSync(path.join(directory, wheel));
  const port = await httpServer((request, response) => {
    if (request.url === "/simple/tiny-package/") {
      response.setHeader("content-type", "text/html");
      response.end(`<!DOCTYPE html><a href="/files/${wheel}">${wheel}</a>`);
    } else if (request.url === `/files/${wheel}`) {
      response.end(content);
    } else {
      response.writeHead(404).end();
    }
  });
  const { vm, denied } = await bootFor(port);
  const options = `--index-url http://127.0.0.1:${port}/simple/ --disable-pip-version-check`;
  await output(vm, `/usr/bin/python3 -m pip install -q ${options} tiny-package`);
  expect(await output(vm, "/usr/bin/python3 -c 'import tiny_package; print(tiny_package.WORD)'")).toBe("installed\n");
  expect(denied).toEqual([]);
});

test("Node's fetch, from 22.21 on, uses the proxy by itself", async () => {
  const port = await httpServer((request, response) => {
    request.setEncoding("utf8");
    let body = "";
    request.on("data", (data) => (body += data)).on("end", () => response.end(`${request.method} ${body}`));
  });
  const { vm, denied } = await bootFor(port, { mounts: [fetchingNode()] });
  const script = `
    const answer = await fetch("http://127.0.0.1:${port}/", { method: "POST", body: "of the VM" });
    console.log(await answer.text());
    await fetch("http://elsewhere.test/").then(() => console.log("answered"), () => console.log("refused"));`;
  await vm.writeFile("/home/user/fetch.mjs", script);
  const printed = await output(vm, "/opt/fetching-node fetch.mjs");
  expect(printed).toBe("POST of the VM\nrefused\n");
  expect(denied).toEqual(["elsewhere.test"]);
});
