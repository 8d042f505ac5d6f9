//! The thread that answers applications and people.
//!
//! Judging a second's samples keeps the loop busy for milliseconds, and who asks for a switch must not wait so long. So serving
//! has a thread and a runtime of its own; the two threads meet in channels and in tables that are replaced whole.

use std::io;
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::limits;
use crate::serve::{self, Shared};

/// The thread, until [`Serving::stop`].
#[derive(Debug)]
pub(super) struct Serving {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Serving {
    /// Begins to serve. Gives the system's error when it has no thread for us.
    pub(super) fn start(listener: TcpListener, shared: Shared) -> io::Result<Serving> {
        let listener = listener.into_std()?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(limits::SERVING_BLOCKING_THREADS)
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("serve".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::spawn(serve::serve(listener, shared.clone()));
                tokio::spawn(serve::agents(shared));
                // The end comes with a word or with the shell's.
                drop(stopped.await);
            });
            // A question that is still being worked out must not keep the process.
            runtime.shutdown_background();
        })?;
        Ok(Serving { stop, thread })
    }

    /// Ends it: every connection is closed.
    pub(super) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that serves has panicked");
        }
    }
}
