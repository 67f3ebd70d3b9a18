"use strict";
// Paths that end in "/", "/." or "/..": a call removes or renames what the path names, and a refused call removes
// nothing.
const { boot, output } = require("./fixture/vm");

const x = "/home/user/x/";
const tree = ". ./dangling ./empty ./file ./flink ./link ./real ./real/f ./real/sub ./real/sub/g ";
const make =
  "rm -rf x /tmp/y; mkdir -p x/real/sub x/empty; cd x; echo f > real/f; echo g > real/sub/g; echo file > file; " +
  "ln -s real link; ln -s real/f flink; ln -s nowhere dangling";
const list = (vm, directory = x) => output(vm, `cd ${directory} && find . | LC_ALL=C sort | tr '\\n' ' '`);
const without = (...names) =>
  tree.replace(/\S+ /g, (entry) => (names.some((name) => `${entry.trim()}/`.startsWith(`./${name}/`)) ? "" : entry));

/** Fails unless each call rejects with its code and leaves the tree unchanged. */
async function refusals(vm, calls) {
  for (const [name, code, call] of calls) {
    await output(vm, make);
    const outcome = await call().then(
      () => "resolved",
      (error) => error.code,
    );
    expect([name, outcome, await list(vm)]).toEqual([name, code, tree]);
  }
}

const levels = [["namespaces"], ["landlock"]];

describe.each(levels)("at the level %s", (isolation) => {
  const bootHere = async () => {
    const vm = await boot({ isolation });
    // At the level "landlock" the home has another path, so the test uses the VM's own path of it.
    const home = (await output(vm, "echo $HOME")).trim();
    const at = (path) => path.replace("/home/user", home);
    return { vm, at };
  };

  test('delete refuses ".", ".." and a link with a trailing slash before it removes anything', async () => {
    const { vm, at } = await bootHere();
    const top = at(x);
    const forms = [
      ["link/", "ENOTDIR"],
      ["link//", "ENOTDIR"],
      ["file/", "ENOTDIR"],
      ["flink/", "ENOTDIR"],
      ["dangling/", "ENOTDIR"],
      ...["link/.", "real/.", "real/./", "real/sub/..", "real/sub/../", "real/..", "link/..", "link/sub/.."].map(
        (form) => [form, "EINVAL"],
      ),
      ...[".", "..", "../", "./", "file/.", "file/.."].map((form) => [form, "EINVAL"]),
    ];
    for (const [form, code] of forms) {
      for (const recursive of [true, false]) {
        await output(vm, make);
        const error = await vm.delete(top + form, { recursive }).then(
          () => "resolved",
          ({ code: found, path }) => ({ code: found, path }),
        );
        expect([form, error, await list(vm, top)]).toEqual([form, { code, path: top + form }, tree]);
      }
    }
    for (const [path, code] of [
      ["/", "EBUSY"],
      ["///", "EBUSY"],
      ["/.", "EINVAL"],
      ["/..", "EINVAL"],
    ]) {
      await expect(vm.delete(path, { recursive: true })).rejects.toMatchObject({ code });
    }
  });

  test("a trailing slash after a directory's name changes nothing, and a link is deleted by its own name", async () => {
    const { vm, at } = await bootHere();
    const top = at(x);
    for (const [name, gone] of [
      ["real/", "real"],
      ["real///", "real"],
      ["empty/", "empty"],
      ["link", "link"],
      ["dangling", "dangling"],
    ]) {
      await output(vm, make);
      await vm.delete(top + name, { recursive: true });
      expect([name, await list(vm, top)]).toEqual([name, without(gone)]);
    }
    await output(vm, make);
    await vm.delete(`${top}empty/`);
    await expect(vm.delete(`${top}real/`)).rejects.toMatchObject({ code: "ENOTEMPTY" });
    expect(await list(vm, top)).toBe(without("empty"));
  });
});

test("move refuses what rename(2) refuses, and a trailing slash loses no file", async () => {
  const vm = await boot();
  const moves = (target) =>
    [
      ["link/", "y", "ENOTDIR"],
      ["file/", "y", "ENOTDIR"],
      ["dangling/", "y", "ENOTDIR"],
      ["file", "y/", "ENOTDIR"],
      ["link", "y/", "ENOTDIR"],
      ["link/.", "y", "EBUSY"],
      ["real/.", "y", "EBUSY"],
      ["real/sub/..", "y", "EBUSY"],
    ].map(([from, to, code]) => [`${from} ${target}${to}`, code, () => vm.move(x + from, target + to)]);
  await refusals(vm, [
    ...moves(x),
    ...moves("/tmp/"),
    ...[
      ["file", "link/", "ENOTDIR"],
      ["file", "dangling/", "ENOTDIR"],
      ["file", "real/", "ENOTDIR"],
      ["file", "link/.", "EBUSY"],
      ["file", "real/sub/..", "EBUSY"],
      ["real", "link/", "ENOTDIR"],
      ["real", "empty/.", "EBUSY"],
    ].map(([from, to, code]) => [`${from} ${to}`, code, () => vm.move(x + from, x + to)]),
  ]);
  expect(await list(vm, "/tmp")).toBe(". ");
  await vm.move(`${x}real/`, `${x}empty/`);
  expect(await output(vm, "cat x/empty/sub/g; ls x/real 2>&1 || true")).toMatch(/^g\n.*No such file/);
  await vm.move(`${x}empty//`, "/tmp/y//");
  expect(await output(vm, "cat /tmp/y/sub/g; ls x")).toBe("g\ndangling\nfile\nflink\nlink\n");
});

test("a move between mounts onto a link replaces the link and not its target", async () => {
  const vm = await boot();
  await output(vm, `${make}; mkdir -p /tmp/y/kept; ln -s y /tmp/link`);
  await vm.move(`${x}file`, "/tmp/link");
  expect(await output(vm, "cat /tmp/link; ls /tmp/y")).toBe("file\nkept\n");
  await expect(vm.move(`${x}flink`, "/tmp/y/")).rejects.toMatchObject({ code: "ENOTDIR" });
  expect(await output(vm, "ls /tmp/y")).toBe("kept\n");
});

test("a path with a trailing slash is never written as a file, and no directory is made for it", async () => {
  const vm = await boot();
  const forms = ["y/", "y/.", "y/..", "y/z/", "y/z/.", "real/", "real/.", "real/..", "link/", "file/", "dangling/"];
  await refusals(
    vm,
    forms.map((form) => [form, "EISDIR", () => vm.writeFile(x + form, "lost")]),
  );
  await refusals(vm, [["file/.", "ENOTDIR", () => vm.writeFile(`${x}file/.`, "lost")]]);
  const written = await vm.writeFiles([...forms, "new"].map((form) => ({ path: x + form, content: "new" })));
  expect(written.map(({ success }) => success)).toEqual([...forms.map(() => false), true]);
  expect(await output(vm, "cat x/file x/real/f x/new; ls x/y 2>&1 || true")).toMatch(/^file\nf\nnew.*No such file/s);
});

test("mkdir accepts a trailing slash, and refuses the name of a file or link", async () => {
  const vm = await boot();
  const refused = (recursive, forms) =>
    forms.map(([form, code]) => [`${form} ${recursive}`, code, () => vm.mkdir(x + form, { recursive })]);
  await refusals(vm, [
    ...refused(false, [
      ["real/", "EEXIST"],
      ["real/.", "EEXIST"],
      ["real/..", "EEXIST"],
      ["link/", "EEXIST"],
      ["dangling/", "EEXIST"],
      ["file/", "EEXIST"],
      ["y/.", "ENOENT"],
      ["y/..", "ENOENT"],
    ]),
    ...refused(true, [
      ["dangling/", "ENOENT"],
      ["file/", "ENOTDIR"],
      ["file/.", "ENOTDIR"],
    ]),
  ]);
  for (const form of ["real/", "real/.", "link/", "link/.", "real/.."]) await vm.mkdir(x + form, { recursive: true });
  expect(await list(vm)).toBe(tree);
  await vm.mkdir(`${x}one/`);
  await vm.mkdir(`${x}two/three//`, { recursive: true });
  expect(await output(vm, "find x/one x/two")).toBe("x/one\nx/two\nx/two/three\n");
});

test("a path with a trailing slash must be a directory, and readdir lists the directory that it leads to", async () => {
  const vm = await boot();
  const calls = [];
  for (const form of ["file/", "file/.", "file/..", "flink/", "flink/.", "link/f/"]) {
    calls.push(
      [form, "ENOTDIR", () => vm.readFile(x + form)],
      [form, "ENOTDIR", () => vm.stat(x + form)],
      [form, "ENOTDIR", () => vm.readdir(x + form)],
      [form, "ENOTDIR", () => vm.readdirRecursive(x + form)],
    );
  }
  await refusals(vm, calls);
  expect(await Promise.all(["file/", "flink/.", "dangling/"].map((form) => vm.exists(x + form)))).toEqual([
    false,
    false,
    false,
  ]);
  for (const form of ["real", "real/", "link", "link/", "link/.", "real/sub/.."]) {
    expect((await vm.readdir(x + form)).sort()).toEqual(["f", "sub"]);
    expect((await vm.readdirRecursive(x + form, { maxDepth: 0 })).map(({ type }) => type).sort()).toEqual([
      "directory",
      "file",
    ]);
    expect((await vm.stat(x + form)).isDirectory).toBe(true);
  }
  const read = await vm.readFiles(["file/", "file", "real/."].map((form) => x + form));
  expect(read.map(({ content }) => content?.toString())).toEqual([undefined, "file\n", undefined]);
});
