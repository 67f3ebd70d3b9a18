"use strict";
// Large programs have the same output in a VM as on the host for a user who owns nothing there: they find their
// settings and data.

const { AgentVm } = require("../..");
const { expectSame } = require("../fixture/same-program");

const tex = "\\documentclass{article}\\begin{document}x\\end{document}";
const java =
  "class A { public static void main(String[] a) throws Exception { System.out.println(java.security.Security.getProviders().length); } }";
const source = '#include <stdio.h>\nint main(void) { return puts("x") < 0; }';

/** A program, and a command whose output depends on its settings and data. */
const PROGRAMS = [
  ["chromium", "chromium --headless --no-sandbox --disable-gpu --dump-dom 'data:text/html,<p>x' 2>/dev/null"],
  ["Maven", "mvn -v | head -n 3"],
  ["emacs", "emacs --batch --eval '(progn (require (quote ispell)) (princ site-run-file) (princ load-path))' 2>&1"],
  ["Rscript", "Rscript -e 'cat(search(), median(c(1, 2, 9)), getOption(\"papersize\"))'"],
  ["pdflatex", `printf '%s' '${tex}' > a.tex && pdflatex -interaction=batchmode a.tex && head -c 8 a.pdf`],
  ["kpsewhich", "kpsewhich article.cls texmf.cnf"],
  ["java", `printf '%s' '${java}' > A.java && java A.java`],
  ["keytool", "keytool -list -cacerts -storepass changeit 2>/dev/null | wc -l"],
  ["Ghostscript", "echo '(x) = quit' | gs -q -dNODISPLAY -dBATCH - && gs -h | tail -n 12"],
  ["Graphviz", "echo 'digraph { a -> b }' | dot -Tsvg"],
  ["ImageMagick", "convert -list policy && convert -size 2x2 xc:red rgb:- | od"],
  ["Ruby", 'ruby -e \'require "openssl"; require "json"; puts Gem.path.last, OpenSSL::X509::DEFAULT_CERT_FILE\''],
  ["Lua", "lua -e 'print(_VERSION, package.path)'"],
  [
    "Tcl",
    "echo 'puts [info patchlevel]; puts $tcl_library; puts [clock format 0 -timezone :America/New_York]' | tclsh",
  ],
  ["SQLite", "sqlite3 :memory: 'select sqlite_version(), 1 + 1'"],
  [
    "xmllint",
    'echo \'<!DOCTYPE book PUBLIC "-//OASIS//DTD DocBook XML V4.5//EN" "http://www.oasis-open.org/docbook/xml/4.5/docbookx.dtd"><book/>\' | xmllint --nonet --loaddtd -',
  ],
  ["xmlcatalog", "xmlcatalog /etc/xml/catalog '-//OASIS//DTD DocBook XML V4.5//EN'"],
  ["groff", "echo '.TH X 1' | groff -man -Tascii"],
  ["GCC", `printf '%s' '${source}' | gcc -x c - -o x && ./x && gcc -v 2>&1 | head -n 3`],
  ["GDB", "gdb -batch -nx -ex 'python print(gdb.VERSION)' -ex 'show auto-load safe-path'"],
  ["psql", "psql --version"],
  ["PHP: more extensions", "php -m"],
  ["ispell", "echo speling | ispell -a -d american | tail -n +2"],
];

let vm;
beforeAll(async () => {
  vm = await AgentVm.create();
});
afterAll(() => vm.dispose());

test.each(PROGRAMS)("%s", (_, command) => expectSame(vm, command));
