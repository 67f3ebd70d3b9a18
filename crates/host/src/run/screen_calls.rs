//! Calls about the screens of shells.

use std::sync::Arc;
use std::time::Duration;

use super::screen;
use crate::abort::Abort;
use crate::credit::Credit;
use crate::error::Error;
use crate::events::ExitStatus;
use crate::records::Shell;
use crate::screen::ScreenView;
use crate::vm::Vm;

/// How long output is gathered before somebody who waits for it looks at the screen. A program may write without end,
/// and each look costs the event loop some time.
const GATHERED: Duration = Duration::from_millis(10);

/// A reading of a screen.
#[derive(Debug, Clone)]
pub struct ScreenRequest {
    /// The name of the shell.
    pub shell: String,
    /// Waits until the shell has written beyond this position.
    pub after: Option<u64>,
    /// Waits until the terminal has been resized more often.
    pub resizes: Option<u64>,
}

/// Describes a screen, and how often the terminal was resized.
pub type DescribeScreen = fn(&ScreenView, u64) -> String;

impl Vm {
    /// Passes on what the screen of a shell shows, and returns how the shell ended if it has. If the request says what to
    /// wait for, waits until one of it has happened, or the shell has ended.
    ///
    /// One screen at a time is described and passed on: the next one when the credit of the one before is returned.
    pub async fn read_screen(
        &self,
        request: ScreenRequest,
        describe: DescribeScreen,
        pass: impl Fn(String, Credit),
        abort: &Abort,
    ) -> Result<Option<ExitStatus>, Error> {
        tokio::select! {
            biased;
            () = abort.aborted() => Err(Error::Aborted),
            read = self.read_screen_when(request, describe, pass) => read,
        }
    }

    async fn read_screen_when(
        &self,
        request: ScreenRequest,
        describe: DescribeScreen,
        pass: impl Fn(String, Credit),
    ) -> Result<Option<ExitStatus>, Error> {
        let shell = self.shell(&request.shell)?;
        let shared = self.shared();
        if request.after.is_some() || request.resizes.is_some() {
            self.screen_changed(&shell, &request).await?;
        }
        let resizes = shell.resizes();
        // The status is read first: if there is one, everything that the shell wrote has arrived.
        let exited = shell.record.status();
        let screen = screen::of(shared, &shell)?;
        screen.drawn().await?;
        // The semaphore is never closed.
        let permit = Arc::clone(&shared.bounds.screens)
            .acquire_owned()
            .await
            .map_err(|_| Error::Disposed)?;
        // The permit is held also while nobody waits for the description any longer.
        let (description, permit) = screen
            .described(move |view| (describe(&view, resizes), permit))
            .await?;
        let (credit, returned) = Credit::new();
        pass(description, credit);
        drop(tokio::spawn(async move {
            returned.wait().await;
            drop(permit);
        }));
        Ok(exited)
    }

    async fn screen_changed(&self, shell: &Shell, request: &ScreenRequest) -> Result<(), Error> {
        let screen = screen::of(self.shared(), shell)?;
        tokio::select! {
            ended = shell.record.ended() => drop(ended?),
            () = screen.arrival(request.after.unwrap_or(u64::MAX)) => tokio::time::sleep(GATHERED).await,
            () = shell.resized(request.resizes.unwrap_or(u64::MAX)) => tokio::time::sleep(GATHERED).await,
        }
        Ok(())
    }
}
