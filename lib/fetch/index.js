"use strict";
// `fetch` into a VM: HTTP/1.1 by Node.js's own client, with one connection per request. It follows everything in the
// Fetch Standard about requests and responses, and leaves out what concerns browsers (CORS, cookies, caches,
// referrers).
//
// Whatever a URL or a redirect names, every connection goes to the one port of the VM: this file has no other way to
// connect.

const http = require("node:http");

const { follow } = require("../abort");
const check = require("../arguments");
const { decodingOf } = require("./content-encoding");
const { keepReading } = require("./keep-reading");
const { AgentVmError, aborted, invalid, systemError } = require("../error");
const { own, pick, unset } = require("../members");
const { sourceOf } = require("./request-body");
const { bodyOf } = require("./response-body");

const MOST_REDIRECTS = 20;

/**
 * The most bytes that a connection may bring without any of the response's head or body: blank lines, interim
 * responses (such as 100 Continue), chunk sizes and extensions, trailers. The head may add as many bytes as Node.js
 * allows.
 */
const MOST_SILENT_BYTES = 256 * 1024 + http.maxHeaderSize;

/** @import { ClientRequest, IncomingMessage } from "node:http" */
/** @import { Readable } from "node:stream" */
/** @import { Source } from "./request-body" */
/** @import { Context } from "./response-body" */

/** @typedef {ReturnType<typeof requestOf>} Asked */

/**
 * Connects to the VM and explains connection errors; `bodies` holds the bodies that are being decoded.
 * @typedef {object} Ports
 * @property {(port: number, signal: AbortSignal | undefined) => Promise<import("node:net").Socket>} connect
 * @property {(error: unknown, port: number) => Promise<Error>} explain
 * @property {Context["bodies"]} bodies
 */

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const WITHOUT_BODY = new Set([204, 205, 304]);

/** Headers about the connection, which is not the caller's to control (RFC 9110, 7.6.1). */
const OF_THE_CONNECTION = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
const OF_THE_BODY = ["content-encoding", "content-language", "content-length", "content-location", "content-type"];
const OF_THE_ORIGIN = ["authorization", "cookie", "host", "proxy-authorization"];

/**
 * The members of a RequestInit.
 * @type {(keyof RequestInit | "cache" | "priority")[]}
 */
const INIT = [
  "method",
  "headers",
  "body",
  "referrer",
  "referrerPolicy",
  "mode",
  "credentials",
  "cache",
  "redirect",
  "integrity",
  "keepalive",
  "signal",
  "duplex",
  "dispatcher",
  "window",
  "priority",
];

/** Options that `http.request` reads and could otherwise inherit from Object.prototype. */
const UNUSED = unset(
  "agent _defaultAgent protocol defaultPort port host hostname family hints lookup localAddress localPort socketPath auth " +
    "timeout signal maxHeaderSize joinDuplicateHeaders uniqueHeaders setDefaultHeaders highWaterMark rejectNonStandardBodyWrites",
);

/**
 * Makes a request that sets only its URL.
 * @type {import("../members").Bare<{ [name: string]: unknown }>}
 */
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

/**
 * Headers that Node.js's fetch sends by default.
 * @type {[name: string, value: string][]}
 */
const UNASKED = [
  ["accept", "*/*"],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language", "*"],
  ["user-agent", "node"],
];

/**
 * Builds one request from the arguments of `fetch`, or throws an INVALID_ARGUMENT.
 * @param {number} port
 * @param {unknown} input
 * @param {unknown} init
 */
function requestOf(port, input, init) {
  if (typeof input !== "string" && !(input instanceof URL) && !(input instanceof Request)) {
    throw invalid(`request must be a Request, a URL, or a string like "/path", not ${check.show(input)}`);
  }
  // The signal is followed here, not by the Request, whose listener would stay on the signal until the Request is
  // collected.
  const isObject = (typeof init === "object" && init !== null) || typeof init === "function";
  const members = isObject ? pick(init, INIT) : undefined;
  const asked = members?.signal;
  const given = asked === undefined && input instanceof Request ? input.signal : asked;
  const signal = (given ?? undefined) && check.abortSignal("init.signal", given);
  let request;
  try {
    const target = input instanceof Request ? input : new URL(input, `http://localhost:${port}`);
    // The Request constructor checks the other arguments.
    const isDictionary = isObject || init === undefined || init === null;
    const complete = isDictionary ? { ...defaultsOf(target), ...members, signal: null } : init;
    request = new Request(target, /** @type {RequestInit} */ (complete));
  } catch (error) {
    const message = `request and init must be what fetch takes: ${systemError(error).message}`;
    throw new AgentVmError("INVALID_ARGUMENT", message, { cause: error });
  }
  const url = new URL(request.url);
  if (url.protocol !== "http:") {
    throw invalid(`request must be a path or an http: URL, not ${check.show(request.url)}; for TLS there is connect`);
  }
  return { port, request, body: members?.body, url, signal };
}

/**
 * The defaults of a Request, set explicitly because Node.js would look them up in Object.prototype.
 * @param {Request | URL} target
 */
function defaultsOf(target) {
  const source = target instanceof Request ? target : PLAIN;
  /** @type {import("../members").Bare<{ [name: string]: unknown }>} */
  const defaults = { __proto__: null, body: null, duplex: undefined };
  for (const key of Object.keys(PLAIN)) defaults[key] = Reflect.get(source, key);
  return defaults;
}

/**
 * Sends a request and follows its redirects.
 * @param {Asked} asked
 * @param {Ports} ports
 */
async function fetch({ port, request, body, url, signal }, ports) {
  const connect = () => ports.connect(port, signal);
  /** @param {unknown} error */
  const explain = (error) => ports.explain(error, port);
  const headers = new Headers(request.headers);
  for (const name of OF_THE_CONNECTION) headers.delete(name);
  for (const [name, value] of UNASKED) if (!headers.has(name)) headers.set(name, value);
  let { method } = request;
  if (signal?.aborted) throw aborted(signal);
  let source = await sourceOf(request, body);
  for (let redirects = 0; ; redirects++) {
    const incoming = await exchange({ method, url, headers, source, signal }, connect, explain);
    const { statusCode = 0 } = incoming;
    const next = REDIRECTS.has(statusCode) && redirectOf(incoming, request.redirect, url, port);
    if (!next) {
      const about = { method, url, redirected: redirects > 0 };
      return respond(incoming, about, { bodies: ports.bodies, signal, explain });
    }
    incoming.destroy();
    if (redirects === MOST_REDIRECTS) {
      throw new AgentVmError("ELOOP", `${request.url} leads to more than ${MOST_REDIRECTS} redirects`);
    }
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

/**
 * The target of a redirect, if `fetch` follows it.
 * @param {IncomingMessage} incoming
 * @param {Request["redirect"]} mode
 * @param {URL} url
 * @param {number} port
 */
function redirectOf(incoming, mode, url, port) {
  const location = own(incoming.headers, "location");
  if (typeof location !== "string" || mode === "manual") return undefined;
  let next;
  try {
    if (mode === "error") throw new AgentVmError("EPROTO", `${url} is redirected, and the request allows none`);
    if (!URL.canParse(location, url.href)) throw new AgentVmError("EPROTO", `${url} redirects to no URL: ${location}`);
    next = new URL(location, url);
  } catch (error) {
    incoming.destroy();
    throw error;
  }
  // A target on another host or port cannot be reached: the caller gets the redirect response, which contains the
  // address.
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(next.hostname) && Number(next.port || 80) === port;
  return next.protocol === "http:" && (next.host === url.host || loopback) ? next : undefined;
}

/**
 * Sends one request and returns the head of its response.
 * @param {{
 *   method: string, url: URL, headers: Headers, source: Source | undefined, signal: AbortSignal | undefined,
 * }} asked
 * @param {() => Promise<import("node:net").Socket>} connect
 * @param {Context["explain"]} explain
 */
async function exchange({ method, url, headers, source, signal }, connect, explain) {
  const body = source?.open();
  /** @type {import("node:net").Socket | undefined} */
  let connected;
  try {
    connected = await connect();
    if (signal?.aborted) throw aborted(signal);
  } catch (error) {
    body?.destroy();
    connected?.destroy();
    throw error;
  }
  const socket = connected;
  /** @type {import("node:http").OutgoingHttpHeaders} */
  const fields = { host: url.host, ...Object.fromEntries(headers) };
  delete fields["content-length"];
  if (source && source.size === undefined) fields["transfer-encoding"] = "chunked";
  else if (source) fields["content-length"] = source.size;
  const outgoing = http.request({
    ...UNUSED,
    // If the server no longer reads, the rest of the request body is dropped.
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

/**
 * @param {ClientRequest} outgoing
 * @param {Readable | undefined} body
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<IncomingMessage>}
 */
function headOf(outgoing, body, signal) {
  return new Promise((resolve, reject) => {
    /** @type {IncomingMessage | undefined} */
    let incoming;
    /**
     * A complete response stays valid, whatever happens to the request or the connection.
     * @param {Error} error
     */
    const fail = (error) => {
      if (!incoming) reject(error);
      else if (!incoming.complete) incoming.destroy(error);
    };
    const unfollow = signal ? follow(signal, () => reject(aborted(signal))) : () => {};
    const over = () => {
      unfollow();
      // The response may end before the request does; the rest of the request is dropped.
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
      heard(response);
      // From here on `response.errored` keeps an error for the body's reader, which also follows the signal.
      unfollow();
      response.on("error", () => {});
      response.once("close", over);
      resolve(response);
    });
    if (body) body.pipe(outgoing);
    else outgoing.end();
  });
}

/**
 * Calls `tooMuch` with an error after MOST_SILENT_BYTES that brought no part of the response. A server may be slow,
 * but it may not use up this process's time. The caller calls the returned function with the response; from then on,
 * bytes of its body count as progress.
 * @param {ClientRequest} outgoing
 * @param {(error: Error) => void} tooMuch
 */
function silence(outgoing, tooMuch) {
  let silent = 0;
  let brought = false;
  outgoing.once("socket", (socket) => {
    /** @param {Buffer} data */
    const onData = (data) => {
      // Bun reads 512 KiB at a time, so a single chunk of body can be longer than the limit.
      silent = brought ? 0 : silent + data.length;
      brought = false;
      if (silent <= MOST_SILENT_BYTES) return;
      socket.off("data", onData);
      const message = `The server sends ${MOST_SILENT_BYTES} bytes without an answer or a byte of its body among them`;
      tooMuch(new AgentVmError("EPROTO", message));
    };
    // Added after Node.js's own listener: the parser has already seen each chunk.
    socket.on("data", onData);
  });
  /** @param {IncomingMessage} incoming */
  const onResponse = (incoming) => {
    brought = true;
    const push = incoming.push;
    // The parser calls this method with each part of a body; every event that reports the parts would also read the
    // body.
    incoming.push = function (...args) {
      brought = true;
      return push.apply(this, args);
    };
  };
  return onResponse;
}

/**
 * @param {IncomingMessage} incoming
 * @param {{ method: string, url: URL, redirected: boolean }} about
 * @param {Context} context
 */
function respond(incoming, { method, url, redirected }, { bodies, signal, explain }) {
  const { statusCode: status = 0, statusMessage: statusText = "", rawHeaders } = incoming;
  if (signal?.aborted) {
    incoming.destroy();
    throw aborted(signal);
  }
  let response;
  try {
    const headers = new Headers();
    for (let at = 0; at < rawHeaders.length; at += 2) headers.append(rawHeaders[at] ?? "", rawHeaders[at + 1] ?? "");
    let body = null;
    if (method === "HEAD" || WITHOUT_BODY.has(status)) incoming.destroy();
    else body = bodyOf(incoming, decodingOf(headers.get("content-encoding")), { bodies, signal, explain });
    response = new Response(body, { status, statusText, headers });
  } catch (error) {
    incoming.destroy();
    const why = systemError(error).message;
    const message = `The server's answer is none that fetch can give: status ${status}: ${why}`;
    throw new AgentVmError("EPROTO", message, { cause: error });
  }
  // A Response that was constructed rather than fetched has neither value.
  Object.defineProperty(response, "url", fixed(withoutHash(url)));
  return Object.defineProperty(response, "redirected", fixed(redirected));
}

/**
 * A descriptor for a property with this value.
 * @param {unknown} value
 * @returns {import("../members").Bare<PropertyDescriptor>}
 */
function fixed(value) {
  return { __proto__: null, value };
}

/** @param {URL} url */
function withoutHash(url) {
  const shown = new URL(url);
  shown.hash = "";
  return shown.href;
}

/**
 * Converts an error from a connection, the HTTP parser or a decoder to an AgentVmError.
 * @param {unknown} thrown
 * @param {number} port
 */
function failure(thrown, port) {
  const server = `The server on port ${port} of the VM`;
  const error = systemError(thrown);
  // The same members as above, without those of Object.prototype.
  const {
    code = "EIO",
    errno,
    syscall,
  } = /** @type {Partial<typeof error>} */ (pick(error, ["code", "errno", "syscall"]));
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
