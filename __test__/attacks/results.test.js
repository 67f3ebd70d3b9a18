"use strict";
// Results that no value of JavaScript can hold. The public calls bound theirs, so the addon is asked directly.

const { Calls } = require("../../lib/calls");
const { bootRequest } = require("../../lib/options/boot-request");
const { checkOptions } = require("../../lib/options/create");
const { rejection } = require("../fixture");

let calls;

beforeEach(async () => {
  calls = new Calls(() => {});
  await calls.ask("boot", bootRequest(checkOptions({})));
});

afterEach(() => calls.dispose());

const sh = (command, maxOutputBytes) =>
  calls.exec(["/bin/sh", "-c", command].join("\0"), JSON.stringify({ maxOutputBytes, streams: false }));

test("a result that is too large for JavaScript rejects its own call, and no other", async () => {
  const other = sh("sleep 0.5; echo other", 1000);
  const error = await rejection(sh("head -c 540000000 /dev/zero | tr '\\0' x", 600_000_000));
  expect(error).toMatchObject({ code: "LIMIT_EXCEEDED", message: expect.stringContaining("536870888") });
  expect((await other).stdout).toBe("other\n");
  expect((await sh("echo still here", 1000)).stdout).toBe("still here\n");
  expect(calls.active).toBe(0);
}, 120_000);
