//! The shells that can be a context's, and how each is made to run commands.

use crate::error::Error;

/// A kind of shell: what it is started with, and how it reads a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellKind {
    Bash,
    Zsh,
    Fish,
    /// sh, dash, and busybox's ash.
    Posix,
}

const BASH: &str = include_str!("drivers/bash.sh");
const ZSH: &str = include_str!("drivers/zsh.zsh");
const FISH: &str = include_str!("drivers/fish.fish");
const POSIX: &str = include_str!("drivers/posix.sh");

impl ShellKind {
    /// The kind of a program, by its name.
    pub fn of(program: &str) -> Result<Self, Error> {
        match program.rsplit('/').next() {
            Some("bash") => Ok(Self::Bash),
            Some("zsh") => Ok(Self::Zsh),
            Some("fish") => Ok(Self::Fish),
            Some("sh" | "dash" | "ash") => Ok(Self::Posix),
            _ => Err(Error::InvalidArgument(format!(
                "shell must be bash, zsh, fish, sh, dash or ash, or a path that ends with one of these, not {program:?}"
            ))),
        }
    }

    /// The arguments that make it run the text that it reads first, [`driver`](Self::driver).
    pub fn arguments(self, program: &str) -> Vec<String> {
        let name = program.rsplit('/').next().unwrap_or(program);
        let words: &[&str] = match self {
            // Interactive, so that an error of the shell's own ends the command and not the shell. Within `source` it prints nothing
            // that a person at a terminal would need.
            Self::Bash => &[
                "--norc",
                "--noprofile",
                "+o",
                "history",
                "-O",
                "execfail",
                "-i",
                "-c",
                "IFS= builtin read -r -d '' __agent_vm_d; while { __agent_vm_r=${__agent_vm_r:-$?} __agent_vm_b=${__agent_vm_a-} \
                 __agent_vm_a=; if [[ $__agent_vm_b ]]; then builtin trap - DEBUG; builtin shopt -u extdebug; builtin set +ET; fi; \
                 [[ 1 ]]; } >/dev/null 2>&1; do builtin source <(builtin printf %s \"$__agent_vm_d\"); done",
                name,
            ],
            Self::Zsh => &[
                "-f",
                "-i",
                "+m",
                "-c",
                "IFS= builtin read -r -d '' __agent_vm_d; builtin eval \"$__agent_vm_d\"",
                name,
            ],
            Self::Fish => &["--no-config", "-c", "read -z -g __agent_vm_d; eval $__agent_vm_d"],
            Self::Posix => &["-c", "IFS= read -r __agent_vm_d; eval \"$__agent_vm_d\"", name],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// What it reads first.
    pub fn driver(self) -> Vec<u8> {
        match self {
            Self::Bash => one_line(BASH) + "\0",
            Self::Zsh => one_line(ZSH) + "\0",
            Self::Fish => format!("{FISH}\0"),
            Self::Posix => one_line(POSIX) + "\n",
        }
        .into_bytes()
    }

    /// What the shell reads to print its exported variables; none if it prints them with each status. That costs bash, which writes
    /// each of them by itself, as much as the rest of a small command.
    pub fn question(self) -> Option<&'static [u8]> {
        (self == Self::Bash).then_some(b"E0000000000")
    }

    /// What the shell reads to run `text` with `status` as that of the command before.
    pub fn message(self, status: i32, text: &str) -> Vec<u8> {
        match self {
            // bash counts characters, not bytes; it reads all of these at once, and others byte by byte.
            Self::Bash if text.is_ascii() && !text.is_empty() => {
                format!("A{status:03}{:07}{text}", text.len())
            }
            Self::Bash => format!("U{status:03}{:07}{text}\0", 0),
            Self::Zsh | Self::Fish => format!("{status}\0{text}\0"),
            Self::Posix => {
                let lines = memchr::memchr_iter(b'\n', text.as_bytes()).count() + 1;
                format!("{status}\n{lines}\n{text}\n")
            }
        }
        .into_bytes()
    }

    /// The signal on which it gives a command up and lives on; SIGKILL where there is none.
    pub fn interrupt(self) -> i32 {
        match self {
            Self::Bash => libc::SIGPWR,
            Self::Zsh | Self::Fish | Self::Posix => libc::SIGKILL,
        }
    }

    /// The command that makes the shell's output go to the pipes that another process has as its own, and writes an `x` to each.
    pub fn redirect(self, pid: u32) -> String {
        let (out, err) = (format!("/proc/{pid}/fd/1"), format!("/proc/{pid}/fd/2"));
        match self {
            Self::Bash | Self::Zsh | Self::Posix => {
                format!("\\exec >{out} 2>{err}; \\printf x; \\printf x >&2")
            }
            Self::Fish => format!(
                "set -g __agent_vm_o {out}; set -g __agent_vm_e {err}; printf x >{out}; printf x >{err}"
            ),
        }
    }

    /// Whether the shell opens those pipes again for each command.
    pub fn opens_outputs_again(self) -> bool {
        self == Self::Fish
    }

    /// The command that unsets variables.
    pub fn unset(self, names: &[&str]) -> String {
        let command = match self {
            Self::Bash | Self::Zsh => "builtin unset",
            Self::Posix => "command unset",
            Self::Fish => "set -e",
        };
        format!("{command} {}", names.join(" "))
    }
}

/// A text without its comments, in one line: the line number of a shell's message is then that of the command.
fn one_line(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_known_by_its_name_alone() {
        assert_eq!(ShellKind::of("/opt/bin/bash").ok(), Some(ShellKind::Bash));
        assert_eq!(ShellKind::of("dash").ok(), Some(ShellKind::Posix));
        for program in ["", "/", "python3", "bash/", "bash "] {
            assert!(ShellKind::of(program).is_err(), "{program}");
        }
    }

    #[test]
    fn bash_reads_a_command_behind_eleven_characters() {
        assert_eq!(ShellKind::Bash.message(7, "echo"), b"A0070000004echo");
        assert_eq!(ShellKind::Bash.message(137, "\u{fc}"), b"U1370000000\xc3\xbc\0");
        assert_eq!(ShellKind::Bash.message(0, ""), b"U0000000000\0");
        assert_eq!(ShellKind::Bash.question().map(<[u8]>::len), Some(11));
    }

    #[test]
    fn the_lines_of_a_command_are_counted() {
        assert_eq!(ShellKind::Posix.message(3, "a\n\nb\n"), b"3\n4\na\n\nb\n\n");
    }
}
