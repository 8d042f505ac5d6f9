//! A thread beside the loop's, for tasks that may wait for a disk a little: reading a few lines of a log costs less than
//! handing the work to the blocking pool and back, but must not hold up the loop.
//!
//! It is started when it is first asked for. Where the system gives no thread, tasks run on the loop's.

use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long a thread of its blocking pool is kept without work: long turns are rare.
const KEPT: Duration = Duration::from_secs(1);

/// The thread; it ends when this is dropped.
#[derive(Default)]
pub(super) struct Beside {
    started: Option<(Handle, oneshot::Sender<()>)>,
}

impl Beside {
    /// Where to spawn tasks.
    pub(super) fn place(&mut self) -> Handle {
        if self.started.is_none() {
            self.started = begin().inspect_err(|error| tracing::warn!(%error, "no thread for reading logs")).ok();
        }
        self.started.as_ref().map_or_else(Handle::current, |(handle, _)| handle.clone())
    }
}

fn begin() -> std::io::Result<(Handle, oneshot::Sender<()>)> {
    let runtime = Builder::new_current_thread().enable_all().thread_keep_alive(KEPT).build()?;
    let handle = runtime.handle().clone();
    let (owner, ended) = oneshot::channel::<()>();
    let work = move || {
        // Ends with an error when the owner is gone, which is all that is waited for.
        drop(runtime.block_on(ended));
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("logs".to_owned()).spawn(work)?;
    Ok((handle, owner))
}
