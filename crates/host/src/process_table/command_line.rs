//! A process's name and arguments, from its `/proc` files. The process controls all of them: it can overwrite its
//! arguments and rename itself, and its name may contain any bytes.

use std::io::{self, Read};
use std::path::Path;

use super::directory::ProcDirectory;

/// The maximum number of bytes read from one command line, and so the maximum of one argument. The kernel allows up to
/// 6 MiB, but reading it costs the server time and memory.
const COMMAND_LINE_BYTES: usize = 128 * 1024;

/// The same for a process that a command left.
const BRIEF_BYTES: usize = 4 * 1024;

/// The maximum number of bytes of all command lines in one table; after that, each is cut to [`LEAST_BYTES`].
const TABLE_BYTES: usize = 4 * 1024 * 1024;

/// The number of bytes that are always read from a command line.
const LEAST_BYTES: usize = 1024;

/// The suffix that the kernel adds to the path of a removed file.
const DELETED: &str = " (deleted)";

/// The longest name that the kernel keeps (`TASK_COMM_LEN` without the NUL); longer names are cut.
const NAME_BYTES: usize = 15;

/// Runtimes that are reported as a driver, by the program's name without its version. Shells are not in the list,
/// because they run programs.
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

/// How many bytes may still be read from the following command lines, and from one.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    left: usize,
    one: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            left: TABLE_BYTES,
            one: COMMAND_LINE_BYTES,
        }
    }
}

impl Allowance {
    /// For the processes that a command left.
    pub fn brief() -> Self {
        Self {
            one: BRIEF_BYTES,
            ..Self::default()
        }
    }

    /// Reads the command line of a process, up to the bounds. Waits for as long as the process holds its memory's lock.
    pub fn read(&mut self, directory: &ProcDirectory) -> io::Result<Vec<u8>> {
        let limit = self.left.clamp(LEAST_BYTES, self.one);
        let mut file = directory.file("cmdline")?;
        let mut line = Vec::new();
        let mut piece = [0; 4096];
        // After an error the bytes read so far count. A short read means the end.
        while let Ok(length) = file.read(&mut piece) {
            line.extend_from_slice(&piece[..length]);
            if length < piece.len() || line.len() >= limit {
                break;
            }
        }
        line.truncate(limit);
        self.left = self.left.saturating_sub(line.len());
        Ok(line)
    }
}

/// The name and arguments, from the command line, the kernel's name for the process, and the program's path if known.
pub fn parse_command_line(line: &[u8], name: &str, executable: Option<&str>) -> CommandLine {
    let program = executable.map(|path| base_name(path.trim_end_matches(DELETED)));
    // Each argument ends with a NUL, unless the process has written over it.
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    let mut words = line
        .split(|&byte| byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned());
    let first = words.next().unwrap_or_default();
    if first.is_empty() {
        // A zombie has no command line any more; the kernel cuts its name to the maximum length.
        let whole = program.filter(|program| name.len() >= NAME_BYTES && program.starts_with(name));
        return CommandLine {
            name: whole.unwrap_or(name).to_owned(),
            arguments: Vec::new(),
        };
    }
    let mut arguments: Vec<String> = words.collect();
    // The process wrote a shorter text over its arguments and filled the rest with NULs.
    if arguments.len() > 1 && arguments.iter().all(String::is_empty) {
        arguments.clear();
    }
    // The name of a login shell begins with a hyphen.
    let told = base_name(first.trim_start_matches('-'));
    // A process title contains spaces. A program's name may contain spaces too, but then it is the program's own name.
    let own = program.filter(|program| first.contains(' ') && *program != told);
    CommandLine {
        name: own.unwrap_or(told).to_owned(),
        arguments,
    }
}

/// The runtime's name from a program's path, or `native`.
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
