//! What is known of the variables that a context's shell exports.

use tokio::sync::watch;

use super::environment::Environment;

/// The exported variables, and whether they may have changed since.
#[derive(Debug, Default)]
pub struct Exports {
    /// What the shell last printed of them; none before the first shell.
    pub text: Option<Environment>,
    /// Whether the shell was asked for them and has not answered.
    pub asked: bool,
}

/// Where a shell's answers go, and where calls wait for them.
pub type ExportsKnown = watch::Sender<Exports>;

/// Takes an answer; without a text what was known stays.
pub fn answer(known: &ExportsKnown, text: Option<Environment>) {
    known.send_modify(|exports| {
        exports.asked = false;
        if text.is_some() {
            exports.text = text;
        }
    });
}
