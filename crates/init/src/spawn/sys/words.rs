//! A program's paths, arguments and environment, as `execve(2)` takes them.

use std::ffi::CString;
use std::ptr;

use libc::c_char;

/// A program's paths, arguments and environment. A child that shares init's memory reads them, also by the pointers.
#[derive(Debug)]
pub struct Words {
    candidates: Vec<*const c_char>,
    arguments: Vec<*const c_char>,
    /// The arguments for a file without an interpreter: the shell, the file (filled in by the child), then the other
    /// arguments.
    script_arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    /// Everything that the pointers point to.
    _strings: [Vec<CString>; 3],
}

impl Words {
    /// The words of a program whose `candidates` are tried in turn.
    pub fn new(candidates: Vec<CString>, arguments: Vec<CString>, environment: Vec<CString>) -> Self {
        let mut script_arguments = vec![c"/bin/sh".as_ptr(), ptr::null()];
        script_arguments.extend(pointers(&arguments).iter().skip(1));
        Self {
            candidates: pointers(&candidates),
            arguments: pointers(&arguments),
            script_arguments,
            environment: pointers(&environment),
            _strings: [candidates, arguments, environment],
        }
    }

    /// The paths of the program.
    pub fn candidates(&self) -> impl Iterator<Item = *const c_char> + use<> {
        let mut next = self.candidates.as_ptr();
        std::iter::from_fn(move || {
            // SAFETY: the list ends with a null pointer, behind which it does not go on; the caller keeps the words.
            unsafe {
                let path = *next;
                next = next.add(usize::from(!path.is_null()));
                (!path.is_null()).then_some(path)
            }
        })
    }

    /// The arguments, beginning with the program's own name.
    pub fn arguments(&self) -> *const *const c_char {
        self.arguments.as_ptr()
    }

    /// `NAME=value`.
    pub fn environment(&self) -> *const *const c_char {
        self.environment.as_ptr()
    }

    /// The shell.
    pub fn shell(&self) -> *const c_char {
        self.script_arguments[0]
    }

    /// The shell's arguments.
    pub fn script_arguments(&self) -> *const *const c_char {
        self.script_arguments.as_ptr()
    }

    /// Sets the file that the shell runs.
    pub fn set_script(&mut self, path: *const c_char) {
        self.script_arguments[1] = path;
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}
