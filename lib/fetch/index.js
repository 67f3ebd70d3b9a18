"use strict";
// `fetch` into a VM: HTTP/1.1 by Node.js's own client, a connection for each request. All of the Fetch Standard that
// concerns requests and responses holds; what belongs to browsers (CORS, cookies, caches, referrers) does not exist.
//
// Whatever a URL or a redirect names, connections go to the one port of the VM: there is no other way to make one here.

const http = require("node:http");

const { follow } = require("../abort");
const check = require("../arguments");
const { decodingOf } = require("./content-encoding");
const { keepReading } = require("./keep-reading");
const { AgentVmError, invalid, aborted } = require("../error");
const { own, pick, unset } = require("../members");
const { sourceOf } = require("./request-body");
const { bodyOf } = require("./response-body");

const MOST_REDIRECTS = 20;

/**
 * Bytes of a connection that bring neither the head of the answer nor a byte of its body: blank lines, interim answers (100
 * Continue and the like), sizes and extensions of chunks, trailers. The head itself comes on top, as long as Node.js allows.
 */
const MOST_SILENT_BYTES = 256 * 1024 + http.maxHeaderSize;

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const WITHOUT_BODY = new Set([204, 205, 304]);

/** Headers that speak of the connection, which is not the caller's (RFC 9110, 7.6.1). */
const OF_THE_CONNECTION = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
const OF_THE_BODY = ["content-encoding", "content-language", "content-length", "content-location", "content-type"];
const OF_THE_ORIGIN = ["authorization", "cookie", "host", "proxy-authorization"];

/** The members of a RequestInit. */
const INIT =
  "method headers body referrer referrerPolicy mode credentials cache redirect integrity keepalive signal duplex dispatcher window priority".split(
    " ",
  );

/** What `http.request` reads of its options and would otherwise take from Object.prototype. */
const UNUSED = unset(
  "agent _defaultAgent protocol defaultPort port host hostname family hints lookup localAddress localPort socketPath auth " +
    "timeout signal maxHeaderSize joinDuplicateHeaders uniqueHeaders setDefaultHeaders highWaterMark rejectNonStandardBodyWrites",
);

/** A request that says nothing but where it goes. */
const PLAIN = {
  __proto__: null,
  method: "GET",
  redirect: "follow",
  headers: [],
  referrer: "about:client",
  referrerPolicy: "",
  mode: "cors",
  credentials: "same-origin",
  cache: "default",
  integrity: "",
  keepalive: false,
};

/** What Node.js's fetch says unasked. */
const UNASKED = {
  __proto__: null,
  accept: "*/*",
  "accept-encoding": "gzip, deflate",
  "accept-language": "*",
  "user-agent": "node",
};

/** The arguments of `fetch` as one request, or an INVALID_ARGUMENT. */
function requestOf(port, input, init) {
  if (typeof input !== "string" && !(input instanceof URL) && !(input instanceof Request)) {
    throw invalid(`request must be a Request, a URL, or a string like "/path", not ${check.show(input)}`);
  }
  // Followed here, and not by the Request: its listener would stay on the signal as long as its garbage does.
  const isObject = (typeof init === "object" && init !== null) || typeof init === "function";
  const members = isObject ? pick(init, INIT) : init;
  const asked = isObject ? members.signal : undefined;
  const given = asked === undefined && input instanceof Request ? input.signal : asked;
  const signal = (given ?? undefined) && check.abortSignal("init.signal", given);
  let request;
  try {
    const target = input instanceof Request ? input : new URL(input, `http://localhost:${port}`);
    if (isObject || members === undefined || members === null) {
      request = new Request(target, { ...defaultsOf(target), ...members, signal: null });
    } else {
      request = new Request(target, members);
    }
  } catch (error) {
    throw new AgentVmError("INVALID_ARGUMENT", `request and init must be what fetch takes: ${error.message}`, {
      cause: error,
    });
  }
  const url = new URL(request.url);
  if (url.protocol !== "http:") {
    throw invalid(`request must be a path or an http: URL, not ${check.show(request.url)}; for TLS there is connect`);
  }
  return { port, request, body: isObject ? members.body : undefined, url, signal };
}

/** What a Request is without an init, said in it, since Node.js would look for these in Object.prototype. */
function defaultsOf(target) {
  const source = target instanceof Request ? target : PLAIN;
  const defaults = { __proto__: null, body: null, duplex: undefined };
  for (const key of Object.keys(PLAIN)) defaults[key] = source[key];
  return defaults;
}

/**
 * Sends a request and follows where it is redirected to. `ports.connect` makes a socket to the port, `ports.explain` makes an
 * AgentVmError of whatever went wrong on it, and `ports.bodies` holds the bodies that are being decoded.
 */
async function fetch({ port, request, body, url, signal }, ports) {
  const connect = () => ports.connect(port, signal);
  const explain = (error) => ports.explain(error, port);
  const headers = new Headers(request.headers);
  for (const name of OF_THE_CONNECTION) headers.delete(name);
  for (const [name, value] of Object.entries(UNASKED)) if (!headers.has(name)) headers.set(name, value);
  let { method } = request;
  if (signal?.aborted) throw aborted(signal);
  let source = await sourceOf(request, body);
  for (let redirects = 0; ; redirects++) {
    const incoming = await exchange({ method, url, headers, source, signal }, connect, explain);
    const next = REDIRECTS.has(incoming.statusCode) && redirectOf(incoming, request.redirect, url, port);
    if (!next) {
      const about = { method, url, redirected: redirects > 0 };
      return respond(incoming, about, { bodies: ports.bodies, signal, explain });
    }
    incoming.destroy();
    if (redirects === MOST_REDIRECTS) {
      throw new AgentVmError("ELOOP", `${request.url} leads to more than ${MOST_REDIRECTS} redirects`);
    }
    const { statusCode } = incoming;
    const becomesGet = statusCode === 303 ? method !== "HEAD" : statusCode < 303 && method === "POST";
    if (becomesGet) {
      if (method !== "GET") for (const name of OF_THE_BODY) headers.delete(name);
      method = "GET";
      source = undefined;
    } else if (source?.once) {
      throw new AgentVmError("EPROTO", `${url} redirects a request whose body is a stream, which is gone by now`);
    }
    if (next.origin !== url.origin) for (const name of OF_THE_ORIGIN) headers.delete(name);
    if (!next.hash) next.hash = url.hash;
    url = next;
  }
}

/** Where a response redirects to, if `fetch` follows it. */
function redirectOf(incoming, mode, url, port) {
  const location = own(incoming.headers, "location");
  if (location === undefined || mode === "manual") return undefined;
  let next;
  try {
    if (mode === "error") throw new AgentVmError("EPROTO", `${url} is redirected, and the request allows none`);
    if (!URL.canParse(location, url)) throw new AgentVmError("EPROTO", `${url} redirects to no URL: ${location}`);
    next = new URL(location, url);
  } catch (error) {
    incoming.destroy();
    throw error;
  }
  // Elsewhere is out of this request's reach: the caller has the response, and with it the address.
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(next.hostname) && Number(next.port || 80) === port;
  return next.protocol === "http:" && (next.host === url.host || loopback) ? next : undefined;
}

/** One request and the head of its response. */
async function exchange({ method, url, headers, source, signal }, connect, explain) {
  const body = source?.open();
  let socket;
  try {
    socket = await connect();
    if (signal?.aborted) throw aborted(signal);
  } catch (error) {
    body?.destroy();
    socket?.destroy();
    throw error;
  }
  const fields = { host: url.host, ...Object.fromEntries(headers) };
  delete fields["content-length"];
  if (body && source.size === undefined) fields["transfer-encoding"] = "chunked";
  else if (body) fields["content-length"] = source.size;
  const outgoing = http.request({
    ...UNUSED,
    // The rest of a request that is not read any more goes nowhere.
    createConnection: () => keepReading(socket.setNoDelay(true), () => body?.destroy()),
    method,
    path: url.pathname + url.search,
    headers: fields,
    setHost: false,
    insecureHTTPParser: false,
  });
  try {
    return await headOf(outgoing, body, signal);
  } catch (error) {
    outgoing.destroy();
    throw await explain(error);
  }
}

function headOf(outgoing, body, signal) {
  return new Promise((resolve, reject) => {
    let incoming;
    // A response that is whole stays so, whatever becomes of the request or the connection.
    const fail = (error) => {
      if (!incoming) reject(error);
      else if (!incoming.complete) incoming.destroy(error);
    };
    const abort = () => reject(aborted(signal));
    const unfollow = signal ? follow(signal, abort) : () => {};
    const over = () => {
      unfollow();
      // A response may be over before its request is: what is left of that goes nowhere.
      body?.destroy();
      outgoing.destroy();
    };
    body?.once("error", fail);
    outgoing.on("error", fail);
    outgoing.once("close", () => incoming ?? over());
    outgoing.once("upgrade", (_, socket) => {
      socket.destroy();
      reject(new AgentVmError("EPROTO", "The server changed to another protocol; for that there is connect"));
    });
    const heard = silence(outgoing, (error) => {
      fail(error);
      outgoing.destroy();
    });
    outgoing.once("response", (response) => {
      incoming = response;
      heard(incoming);
      // `incoming.errored` keeps an error from here on for the reader of the body, who also watches the signal.
      unfollow();
      incoming.on("error", () => {});
      incoming.once("close", over);
      resolve(incoming);
    });
    if (body) body.pipe(outgoing);
    else outgoing.end();
  });
}

/**
 * Calls `tooMuch` with an error when MOST_SILENT_BYTES have come that brought nothing: a server may take its time, but not
 * this process's. The caller calls the returned function with the response, whose body counts from then on.
 */
function silence(outgoing, tooMuch) {
  let silent = 0;
  outgoing.once("socket", (socket) => {
    const onData = (data) => {
      silent += data.length;
      if (silent <= MOST_SILENT_BYTES) return;
      socket.off("data", onData);
      const message = `The server sends ${MOST_SILENT_BYTES} bytes without an answer or a byte of its body among them`;
      tooMuch(new AgentVmError("EPROTO", message));
    };
    // Behind Node.js's own listener: the parser has seen each chunk by then.
    socket.on("data", onData);
  });
  return (incoming) => {
    silent = 0;
    const push = incoming.push;
    // The parser gives each part of a body to this method: no event reports that without reading the body.
    incoming.push = function (...args) {
      silent = 0;
      return push.apply(this, args);
    };
  };
}

function respond(incoming, { method, url, redirected }, { bodies, signal, explain }) {
  const { statusCode: status, statusMessage: statusText, rawHeaders } = incoming;
  if (signal?.aborted) {
    incoming.destroy();
    throw aborted(signal);
  }
  let response;
  try {
    const headers = new Headers();
    for (let at = 0; at < rawHeaders.length; at += 2) headers.append(rawHeaders[at], rawHeaders[at + 1]);
    let body = null;
    if (method === "HEAD" || WITHOUT_BODY.has(status)) incoming.destroy();
    else body = bodyOf(incoming, decodingOf(headers.get("content-encoding")), { bodies, signal, explain });
    response = new Response(body, { status, statusText, headers });
  } catch (error) {
    incoming.destroy();
    const message = `The server's answer is none that fetch can give: status ${status}: ${error.message}`;
    throw new AgentVmError("EPROTO", message, { cause: error });
  }
  // A Response that is made, not fetched, knows neither.
  return Object.defineProperties(response, {
    __proto__: null,
    url: { __proto__: null, value: withoutHash(url) },
    redirected: { __proto__: null, value: redirected },
  });
}

function withoutHash(url) {
  const shown = new URL(url);
  shown.hash = "";
  return shown.href;
}

/** An AgentVmError of what a connection, the HTTP parser or a decoder say. */
function failure(error, port) {
  const server = `The server on port ${port} of the VM`;
  const { code = "EIO", errno, syscall } = pick(error, ["code", "errno", "syscall"]);
  if (code.startsWith("HPE_")) {
    return new AgentVmError("EPROTO", `${server} does not answer with HTTP/1.1: ${error.message}`, { cause: error });
  }
  if (/^(Z|ZSTD|ERR)_/.test(code)) {
    return new AgentVmError("EPROTO", `${server} sends what cannot be read: ${error.message}`, { cause: error });
  }
  const message = errno === undefined ? `${server} closed the connection before the end of its answer` : error.message;
  return new AgentVmError(code, message, { errno, syscall, cause: error });
}

module.exports = { requestOf, fetch, failure };
