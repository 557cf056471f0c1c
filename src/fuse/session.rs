//! A session: the device of one mount, served until the mount is gone.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::available_parallelism;

use fuser::{Config, SessionACL};

use super::adapter::Adapter;
use super::listener::Listener;
use super::measure::Measured;
use super::passthrough::Passthrough;
use super::pool::Pool;
use super::writable::{Settings, Writable};
use crate::union::{Overlay, Union};

/// What waits in a mount that is written to mostly waits for the disk.
const WRITABLE_WORKERS: usize = 8;

/// Ready to serve, before there is a mount: once there is one, a path may lead into it, where nobody answers yet.
pub struct Prepared(Served<Adapter, Writable>);

/// How the kernel opens files of what never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// By itself, which is best where small files are opened often.
    Unasked,
    /// It asks, and may be given a file to read in the place of the image's, which is best for large ones.
    PassedThrough,
}

enum Served<R, W> {
    ReadOnly(R),
    Writable(W),
}

impl Prepared {
    pub fn read_only(union: Union, opens: Opens) -> io::Result<Self> {
        let workers = available_parallelism().map_or(2, NonZeroUsize::get).clamp(2, 4);
        let pool = Pool::start(workers)?;
        let passthrough = match opens {
            Opens::Unasked => None,
            Opens::PassedThrough => Some(Passthrough::default()),
        };
        Ok(Self(Served::ReadOnly(Adapter::new(Arc::new(union), pool, passthrough))))
    }

    pub fn writable(overlay: Overlay, settings: Settings) -> io::Result<Self> {
        let pool = Pool::start(WRITABLE_WORKERS)?;
        Ok(Self(Served::Writable(Writable::new(Arc::new(overlay), pool, settings))))
    }

    /// Agrees with the kernel on the protocol. The mount is live when this returns; its requests wait for
    /// [`Session::run`].
    pub fn begin(self, device: OwnedFd) -> io::Result<Session> {
        let mut config = Config::default();
        config.n_threads = Some(1);
        let listener = Listener::new(device.try_clone()?);
        // Who may enter is checked by the kernel, which also caches what it was told: a check here would be too late.
        let all = SessionACL::All;
        Ok(Session(match self.0 {
            Served::ReadOnly(adapter) => {
                let measured = Measured::new(adapter, listener);
                Served::ReadOnly(fuser::Session::from_fd(measured, device, all, config)?)
            }
            Served::Writable(writable) => {
                let measured = Measured::new(writable, listener);
                Served::Writable(fuser::Session::from_fd(measured, device, all, config)?)
            }
        }))
    }
}

pub struct Session(Served<fuser::Session<Measured<Adapter>>, fuser::Session<Measured<Writable>>>);

impl Session {
    /// Serves until the mount is gone for good.
    pub fn run(self) -> io::Result<()> {
        match self.0 {
            Served::ReadOnly(session) => session.run(),
            Served::Writable(session) => session.run(),
        }
    }
}
