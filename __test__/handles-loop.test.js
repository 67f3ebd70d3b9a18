"use strict";
// `for await` over the stream of a handle: it gets what Node.js's own iterator of the stream gets.

const { Readable } = require("node:stream");

const { sleep, until } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const iterators = {
  "of the stream itself": (stream) => stream[Symbol.asyncIterator](),
  "of Node.js": (stream) => Readable.prototype[Symbol.asyncIterator].call(stream),
};
const COUNT = 400_000;
const numbers = Array.from({ length: COUNT }, (_, index) => `${index + 1}\n`).join("");

/** Prints 2.7 MB, which is more than is ever on its way. */
async function counting() {
  return (await vm.spawn("seq", [String(COUNT)])).stdout;
}

async function textOf(iterator, onChunk = () => {}) {
  let text = "";
  for await (const chunk of iterator) {
    text += chunk;
    await onChunk(chunk);
  }
  return text;
}

describe.each(Object.entries(iterators))("an iterator %s", (_, iterate) => {
  test("it brings every byte in order, to a quick loop and to a slow one", async () => {
    expect((await textOf(iterate(await counting()))) === numbers).toBe(true);
    expect((await textOf(iterate(await counting()), () => sleep(1))) === numbers).toBe(true);
  });

  test("it brings every byte while others listen to the stream, too", async () => {
    const stream = await counting();
    let heard = "";
    let seen = 0;
    const text = await textOf(iterate(stream), (chunk) => {
      seen += chunk.length;
      if (seen > 500_000 && stream.listenerCount("data") === 0) {
        seen = -Infinity;
        stream.on("data", (data) => (heard += data));
        setTimeout(() => stream.removeAllListeners("data"), 5);
      }
      return sleep(1);
    });
    expect(text === numbers).toBe(true);
    expect(heard.length).toBeGreaterThan(0);
    expect(numbers.includes(heard)).toBe(true);
  });

  test("it brings text as soon as the stream has an encoding", async () => {
    const handle = await vm.spawn("sh", ["-c", "echo first; read go; printf '\\303'; read go; printf '\\244'"]);
    const got = [];
    for await (const chunk of iterate(handle.stdout)) {
      got.push(typeof chunk === "string" ? chunk : chunk.toString());
      if (got.length === 1) {
        handle.stdout.setEncoding("utf8");
        handle.stdin.write("\n");
        void until(async () => (await vm.readProcessOutput(handle.pid, { after: 6 })).nextSeq === 7).then(() =>
          handle.stdin.write("\n"),
        );
      }
    }
    expect(got.join("")).toBe("first\nä");
  });

  test("two of them at once bring each byte once", async () => {
    const stream = await counting();
    let both = "";
    const add = (chunk) => void (both += chunk);
    await Promise.all([textOf(iterate(stream), add), textOf(iterate(stream), add)]);
    expect(both === numbers).toBe(true);
  });

  test("a loop that stands still pauses the process, and loses nothing", async () => {
    const total = 20_000_000;
    const handle = await vm.spawn("head", ["-c", String(total), "/dev/zero"]);
    const written = async () => (await vm.readProcessOutput(handle.pid, { after: Number.MAX_SAFE_INTEGER })).nextSeq;
    let taken = 0;
    let chunks = 0;
    for await (const chunk of iterate(handle.stdout)) {
      taken += chunk.length;
      if (++chunks !== 20) continue;
      let before = -1;
      await until(async () => {
        const now = await written();
        const stands = now === before;
        before = now;
        await sleep(50);
        return stands;
      });
      expect((await written()) - taken).toBeLessThan(512 * 1024 + 2.5 * 1024 * 1024);
    }
    expect(taken).toBe(total);
  });

  test("it ends with the stream, which then emits its end", async () => {
    const { stdout } = await vm.spawn("echo", ["all"]);
    const events = [];
    for (const name of ["end", "error"]) stdout.on(name, () => events.push(name));
    const closed = new Promise((resolve) => stdout.on("close", resolve));
    expect(await textOf(iterate(stdout))).toBe("all\n");
    await closed;
    expect(events).toEqual(["end"]);
    expect(await textOf(iterate(stdout))).toBe("");
  });

  test("it fails with the error of a stream that is destroyed, and destroys one that it leaves", async () => {
    const outcome = async (onChunk) => {
      const handle = await vm.spawn("sh", ["-c", "echo one; read go"]);
      const { stdout } = handle;
      const iterator = iterate(stdout);
      const error = await textOf(iterator, () => onChunk(stdout)).then(
        () => undefined,
        (thrown) => thrown,
      );
      const next = await iterator.next();
      await handle.kill();
      return [error?.code ?? error?.message, stdout.destroyed, next];
    };
    const done = { value: undefined, done: true };
    expect(await outcome((stream) => void stream.destroy())).toEqual(["ERR_STREAM_PREMATURE_CLOSE", true, done]);
    expect(await outcome((stream) => void setTimeout(() => stream.destroy(new Error("mine")), 5))).toEqual([
      "mine",
      true,
      done,
    ]);
    const thrower = () => {
      throw new Error("of the loop");
    };
    expect(await outcome(thrower)).toEqual(["of the loop", true, done]);
  });
});
