"use strict";
// Checks the option `network`, and converts each destination of `allow` to the form that the addon takes.

const net = require("node:net");
const { domainToASCII } = require("node:url");

const check = require("../arguments");
const { invalid } = require("../error");
const { member } = require("../members");

/** The maximum number of destinations in one list: each request is compared with all of them. */
const MAX_DESTINATIONS = 1024;

const FORMS =
  'a host name ("registry.npmjs.org"), a domain\'s subdomains ("*.github.com"), an address ("10.0.0.5", "[::1]") or a ' +
  'range of addresses ("10.0.0.0/8"), each with or without a port (":443")';

/** @import { Bare } from "../members" */
/** @import { AllowRequest } from "../../src/addon" */

/** @typedef {{ ip: 0 | 4 | 6, host: string, prefix?: string | undefined, port?: string | undefined }} Parts */

/**
 * Splits a destination into host, prefix length and port, each as text if given; null if it does not have this form.
 * @param {string} value
 * @returns {Bare<Parts> | null}
 */
function split(value) {
  // Without brackets, the last number of an IPv6 address would be taken for a port.
  const bare = /^([0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*)(?:\/(\d{1,3}))?$/i.exec(value);
  if (bare) return { __proto__: null, ip: 6, host: bare[1] ?? "", prefix: bare[2] };
  const bracketed =
    /^\[([^\]/]*)\](?:\/(\d{1,3}))?(?::(\d+))?$/.exec(value) ?? /^\[([^\]/]*)\/(\d{1,3})\](?::(\d+))?$/.exec(value);
  if (bracketed) return { __proto__: null, ip: 6, host: bracketed[1] ?? "", prefix: bracketed[2], port: bracketed[3] };
  const plain = /^([^:/]*)(?:\/(\d{1,3}))?(?::(\d+))?$/.exec(value);
  if (!plain) return null;
  const [, host = "", prefix, port] = plain;
  return { __proto__: null, ip: net.isIPv4(host) ? 4 : 0, host, prefix, port };
}

/**
 * Returns `{ name }`, `{ subdomainsOf }` or `{ address, prefixLength }`. Without a `port`, it means all ports.
 * @param {string} argument
 * @param {string} value
 * @returns {Bare<AllowRequest>}
 */
function destination(argument, value) {
  /** @param {string} [why] */
  const wrong = (why) => {
    const shown = JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value);
    return invalid(`${argument} must be ${FORMS}, not ${shown}${why ? `: ${why}` : ""}`);
  };
  if (value.includes("://")) throw wrong("it names a host, without a scheme or a path");
  const parts = split(value);
  if (parts === null) throw wrong();
  if (parts.host === "*") throw wrong('for all public destinations, set network to "public" in place of a list');

  const port = parts.port === undefined ? undefined : Number(parts.port);
  if (port !== undefined && (port < 1 || port > 65535)) throw wrong("a port is a number from 1 to 65535");

  if (parts.ip !== 0) {
    const bits = parts.ip === 6 ? 128 : 32;
    const prefixLength = parts.prefix === undefined ? bits : Number(parts.prefix);
    // A zone names a host interface, and the VM has no name for it.
    if (net.isIP(parts.host) !== parts.ip || parts.host.includes("%")) throw wrong("that is no IPv6 address");
    if (prefixLength > bits) throw wrong(`a range of these addresses ends in /0 to /${bits}`);
    return { __proto__: null, address: parts.host, prefixLength, port };
  }
  if (parts.prefix !== undefined) throw wrong();
  const subdomains = parts.host.startsWith("*.");
  const name = domainName(subdomains ? parts.host.slice(2) : parts.host);
  if (name === null) throw wrong();
  return subdomains ? { __proto__: null, subdomainsOf: name, port } : { __proto__: null, name, port };
}

/**
 * The name in the form that resolvers take: lower case, letters beyond ASCII encoded, no dot at the end; null if it
 * is invalid.
 * @param {string} text
 */
function domainName(text) {
  // Characters that the function below, which is made for URLs, would decode or cut off.
  if (/[%*\s/\\?#@:[\]]/.test(text)) return null;
  const name = domainToASCII(text).replace(/\.$/, "");
  const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
  const labels = name.split(".");
  if (name.length > 253 || !labels.every((part) => label.test(part))) return null;
  // An address in an old spelling, such as 127.1.
  return /^(\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? "") ? null : name;
}

/** @typedef {"none" | "public" | "host" | Bare<{ allow: AllowRequest[] }>} CheckedNetwork */

/**
 * "none", "public", "host", or `{ allow }` with parsed destinations.
 * @type {check.Check<CheckedNetwork>}
 */
function network(argument, value) {
  if (value === "none" || value === "public" || value === "host") return value;
  const forms = `${argument} must be "none", "public", "host" or { allow: [destinations] }`;
  if (!check.isPlainObject(value)) throw invalid(forms);
  const others = Object.keys(value).filter((key) => key !== "allow");
  if (others.length > 0) throw invalid(`${forms}; it has no member ${JSON.stringify(others[0])}`);
  const allow = member(value, "allow");
  if (!Array.isArray(allow)) throw invalid(`${argument}.allow must be an array of strings; each is ${FORMS}`);
  const { length } = allow;
  if (length > MAX_DESTINATIONS) {
    throw invalid(`${argument}.allow must hold at most ${MAX_DESTINATIONS} destinations, not ${length}`);
  }
  /**
   * @param {unknown} item
   * @param {number} index
   */
  const one = (item, index) => {
    const name = `${argument}.allow[${index}]`;
    if (typeof item !== "string") throw invalid(`${name} must be a string; ${FORMS}`);
    return destination(name, item);
  };
  return { __proto__: null, allow: check.each(allow, one, length) };
}

module.exports = { network };
