//! What a process is called, from what `/proc` shows of it. All of it is the process's own word: it may have written over
//! its arguments and renamed itself, and its name may hold anything.

use std::io::Read;
use std::path::Path;

use procfs::ProcResult;
use procfs::process::Process;

/// The most bytes of one process's command line that are read: the kernel takes up to 6 MiB, a reader's time and memory
/// are the server's. One argument is at most as long.
const COMMAND_LINE_BYTES: usize = 128 * 1024;

/// The most bytes of all command lines of one table; what comes after that many is cut to [`LEAST_BYTES`] each.
const TABLE_BYTES: usize = 4 * 1024 * 1024;

/// What of a command line is always read.
const LEAST_BYTES: usize = 1024;

/// What the kernel adds to the path of a file that has been removed.
const DELETED: &str = " (deleted)";

/// The longest name that the kernel keeps (`TASK_COMM_LEN`, less the NUL); a longer one is cut to it.
const NAME_BYTES: usize = 15;

/// Interpreters that are a driver of their own, by the name of the program without its version. Shells are not among them:
/// what they run are programs.
const RUNTIMES: [(&str, &str); 22] = [
    ("node", "node"),
    ("nodejs", "node"),
    ("python", "python"),
    ("pypy", "pypy"),
    ("perl", "perl"),
    ("ruby", "ruby"),
    ("php", "php"),
    ("php-fpm", "php"),
    ("php-cgi", "php"),
    ("lua", "lua"),
    ("luajit", "luajit"),
    ("java", "java"),
    ("deno", "deno"),
    ("bun", "bun"),
    ("dotnet", "dotnet"),
    ("mono", "mono"),
    ("beam.smp", "erlang"),
    ("R", "R"),
    ("Rscript", "R"),
    ("julia", "julia"),
    ("guile", "guile"),
    ("tclsh", "tclsh"),
];

/// How a process was started.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, without its directory.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// How much of the command lines to come may still be read.
#[derive(Debug)]
pub struct Allowance(usize);

impl Default for Allowance {
    fn default() -> Self {
        Self(TABLE_BYTES)
    }
}

impl Allowance {
    /// Reads a process's command line, as far as it can be read.
    pub fn read(&mut self, process: &Process) -> ProcResult<Vec<u8>> {
        let limit = self.0.clamp(LEAST_BYTES, COMMAND_LINE_BYTES);
        let mut file = process.open_relative("cmdline")?;
        let mut line = Vec::new();
        let mut piece = [0; 4096];
        // What was read before an error is what there is, and a read that gives less than it might has met the end.
        while let Ok(length) = file.read(&mut piece) {
            line.extend_from_slice(&piece[..length]);
            if length < piece.len() || line.len() >= limit {
                break;
            }
        }
        line.truncate(limit);
        self.0 = self.0.saturating_sub(line.len());
        Ok(line)
    }
}

/// The command, from the command line, the kernel's name for the process, and the program it executes, where that is known.
pub fn parse_command_line(line: &[u8], name: &str, executable: Option<&str>) -> CommandLine {
    let program = executable.map(|path| base_name(path.trim_end_matches(DELETED)));
    // Each argument ends with a NUL, unless the process has written over it.
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    let mut words = line
        .split(|&byte| byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned());
    let first = words.next().unwrap_or_default();
    if first.is_empty() {
        // A zombie has no command line left; the kernel's name for it is cut to its length.
        let whole = program.filter(|program| name.len() >= NAME_BYTES && program.starts_with(name));
        return CommandLine {
            name: whole.unwrap_or(name).to_owned(),
            arguments: Vec::new(),
        };
    }
    let mut arguments: Vec<String> = words.collect();
    // A shorter text was written over them, and the rest wiped.
    if arguments.len() > 1 && arguments.iter().all(String::is_empty) {
        arguments.clear();
    }
    // A login shell's own name begins with a hyphen.
    let told = base_name(first.trim_start_matches('-'));
    // A title has blanks; so may a program's name have, but then it is its own.
    let own = program.filter(|program| first.contains(' ') && *program != told);
    CommandLine {
        name: own.unwrap_or(told).to_owned(),
        arguments,
    }
}

/// The runtime's name, or `native`, from the program that a process executes.
pub fn driver(executable: &str) -> &'static str {
    let name = base_name(executable.trim_end_matches(DELETED));
    let plain =
        name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == '-');
    RUNTIMES
        .iter()
        .find(|(program, _)| *program == plain || *program == name)
        .map_or("native", |(_, driver)| driver)
}

fn base_name(path: &str) -> &str {
    Path::new(path)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str, name: &str, executable: &str) -> (String, Vec<String>) {
        let CommandLine { name, arguments } = parse_command_line(line.as_bytes(), name, Some(executable));
        (name, arguments)
    }

    #[test]
    fn drivers_follow_from_the_program() {
        for (program, expected) in [
            ("/usr/bin/node", "node"),
            ("/usr/bin/nodejs", "node"),
            ("/usr/bin/python3.11", "python"),
            ("/usr/bin/perl5.36.0", "perl"),
            ("/usr/sbin/php-fpm8.2", "php"),
            ("/usr/lib/erlang/erts-13.1/bin/beam.smp", "erlang"),
            ("/usr/bin/dash", "native"),
            ("/opt/node/bin/node (deleted)", "node"),
            ("/usr/bin/nodejs-helper", "native"),
            ("/", "native"),
            ("", "native"),
        ] {
            assert_eq!(driver(program), expected, "{program}");
        }
    }

    #[test]
    fn arguments_are_as_they_were_passed() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            told("/bin/echo\0a b\0\0c\0", "echo", "/bin/echo"),
            ("echo".into(), words(&["a b", "", "c"]))
        );
        assert_eq!(told("echo\0\0", "echo", "/bin/echo").1, [""]);
        assert_eq!(told("-bash\0", "bash", "/bin/bash"), ("bash".into(), vec![]));
        assert_eq!(told("/\0", "x", "/bin/x"), ("/".into(), vec![]));
        let bytes = parse_command_line(b"a\0\xff\0", "a", None);
        assert_eq!(bytes.arguments, ["\u{fffd}"]);
    }

    #[test]
    fn what_wrote_over_its_arguments_is_called_as_its_program() {
        let title = "nginx: master process /usr/sbin/nginx -g daemon off;";
        assert_eq!(told(title, "nginx", "/usr/sbin/nginx"), ("nginx".into(), vec![]));
        assert_eq!(
            told("short\0\0\0\0\0", "short", "/bin/short").1,
            Vec::<String>::new()
        );
        assert_eq!(
            told("/home/user/my tool\0x\0", "my tool", "/home/user/my tool").0,
            "my tool"
        );
    }

    #[test]
    fn a_zombie_is_called_as_the_kernel_calls_it() {
        assert_eq!(parse_command_line(b"", "sleep", None).name, "sleep");
        assert_eq!(
            told("", "a-name-of-fiftee", "/x/a-name-of-fifteen-and-more").0,
            "a-name-of-fifteen-and-more"
        );
    }
}
