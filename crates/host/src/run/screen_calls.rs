//! Calls about the screens of shells.

use std::time::Duration;

use super::screen;
use crate::abort::Abort;
use crate::error::Error;
use crate::events::ExitStatus;
use crate::screen::ScreenView;
use crate::vm::Vm;

/// How long output is gathered before somebody who waits for it looks at the screen. A program may write without end,
/// and each look costs the event loop some time.
const GATHERED: Duration = Duration::from_millis(10);

impl Vm {
    /// What the screen of a shell shows, and how the shell ended if it has. With `after`, waits until the shell has
    /// written beyond this position, or has ended.
    pub async fn read_screen(
        &self,
        name: &str,
        after: Option<u64>,
        abort: &Abort,
    ) -> Result<(ScreenView, Option<ExitStatus>), Error> {
        tokio::select! {
            biased;
            () = abort.aborted() => Err(Error::Aborted),
            read = self.read_screen_after(name, after) => read,
        }
    }

    async fn read_screen_after(
        &self,
        name: &str,
        after: Option<u64>,
    ) -> Result<(ScreenView, Option<ExitStatus>), Error> {
        let shell = self.shell(name)?;
        let shared = self.shared();
        if let Some(after) = after {
            let screen = screen::of(shared, &shell)?;
            tokio::select! {
                ended = shell.record.ended() => drop(ended?),
                () = screen.arrival(after) => tokio::time::sleep(GATHERED).await,
            }
        }
        // The status is read first: if there is one, everything that the shell wrote has arrived.
        let exited = shell.record.status();
        let view = screen::of(shared, &shell)?.read().await?;
        Ok((view, exited))
    }
}
