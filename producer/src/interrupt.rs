//! An operator who wants a command to end: it then finishes the step that it is at.

use std::io;

use futures_util::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT or SIGTERM. From [`Interrupt::listen`] on, neither kills the process.
#[derive(Debug)]
pub(crate) struct Interrupt {
    int: Signal,
    term: Signal,
    came: bool,
}

impl Interrupt {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            came: false,
        })
    }

    /// Waits until one has come.
    pub(crate) async fn comes(&mut self) {
        if !self.came {
            tokio::select! {
                _ = self.int.recv() => {}
                _ = self.term.recv() => {}
            }
            self.came = true;
        }
    }

    /// Whether one has come.
    pub(crate) fn has_come(&mut self) -> bool {
        self.comes().now_or_never().is_some()
    }
}
