//! A session: the device of one mount, served until the mount is gone.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::available_parallelism;

use fuser::{Config, SessionACL};

use super::adapter::Adapter;
use super::readers::Readers;
use crate::union::Union;

/// Ready to serve, before there is a mount: once there is one, a path may lead into it, where nobody answers yet.
pub struct Prepared {
    adapter: Adapter,
    config: Config,
}

impl Prepared {
    pub fn new(union: Union) -> io::Result<Self> {
        let union = Arc::new(union);
        let workers = available_parallelism().map_or(2, NonZeroUsize::get).clamp(2, 4);
        let readers = Readers::start(Arc::clone(&union), workers)?;
        let mut config = Config::default();
        config.n_threads = Some(1);
        Ok(Self { adapter: Adapter::new(union, readers), config })
    }

    /// Agrees with the kernel on the protocol. The mount is live when this returns; its requests wait for
    /// [`Session::run`].
    pub fn begin(self, device: OwnedFd) -> io::Result<Session> {
        // Who may enter is checked by the kernel, which also caches what it was told: a check here would be too late.
        fuser::Session::from_fd(self.adapter, device, SessionACL::All, self.config).map(Session)
    }
}

pub struct Session(fuser::Session<Adapter>);

impl Session {
    /// Serves until the mount is gone for good.
    pub fn run(self) -> io::Result<()> {
        self.0.run()
    }
}
