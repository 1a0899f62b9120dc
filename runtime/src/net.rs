//! TCP streams: real sockets, or the simulated network.
//!
//! Reading appends to a buffer what has arrived; there is one way to write, [`WriteHalf::send`], which takes a whole
//! frame as pieces and never copies the bytes of a file through this process where the system can avoid it. An
//! enumeration of streams leaves a place for TLS beside the real one.

mod real;

use crate::disk::FileSlice;
#[cfg(madsim)]
use crate::simulation::net as simulated;
use bytes::{Bytes, BytesMut};
use std::{fmt, io, net::SocketAddr};

/// A piece of what is sent.
#[derive(Clone, Debug)]
pub enum Slice {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A range of a file.
    File(FileSlice),
}

impl Slice {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(slice) => slice.length,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Slice {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<FileSlice> for Slice {
    fn from(slice: FileSlice) -> Self {
        Self::File(slice)
    }
}

/// A socket that accepts connections. Dropping it refuses those that come later, and resets those not yet accepted.
#[derive(Debug)]
pub struct Listener(Listening);

#[derive(Debug)]
enum Listening {
    Real(real::Listener),
    #[cfg(madsim)]
    Simulated(simulated::Listener),
}

/// One connection. Dropping it closes both directions; unread bytes make that a reset.
#[derive(Debug)]
pub struct Stream {
    read: ReadHalf,
    write: WriteHalf,
}

/// The receiving direction of a connection. The connection is closed when both halves are dropped.
pub struct ReadHalf(Reading);

enum Reading {
    Real(real::ReadHalf),
    #[cfg(madsim)]
    Simulated(simulated::ReadHalf),
}

/// The sending direction of a connection. Dropping it ends that direction (FIN): the peer reads to the end.
pub struct WriteHalf(Writing);

enum Writing {
    Real(real::WriteHalf),
    #[cfg(madsim)]
    Simulated(simulated::WriteHalf),
}

impl Listener {
    /// Listens at `host:port`; port 0 lets the system choose.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there, `AddrNotAvailable` when this node has no such address.
    pub async fn bind(address: &str) -> io::Result<Self> {
        #[cfg(madsim)]
        if let Some(here) = crate::simulation::here() {
            return simulated::Listener::bind(here, address).map(|listener| Self(Listening::Simulated(listener)));
        }
        real::Listener::bind(address).await.map(|listener| Self(Listening::Real(listener)))
    }

    /// Where it listens, with the port that the system chose.
    pub fn local_address(&self) -> SocketAddr {
        either!(&self.0, Listening, listener => listener.local_address(), listener => listener.local_address())
    }

    /// Waits for a connection, and says from where it comes. A cancelled call loses none.
    ///
    /// # Errors
    /// When this process cannot take one more (too many open files): a caller waits a little and tries again.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        either!(&self.0, Listening,
        listener => {
            let (read, write, from) = listener.accept().await?;
            Ok((Stream { read: ReadHalf(Reading::Real(read)), write: WriteHalf(Writing::Real(write)) }, from))
        },
        listener => {
            let (read, write, from) = listener.accept().await?;
            Ok((Stream::simulated(read, write), from))
        })
    }
}

impl Stream {
    /// Connects to `host:port`. Has no deadline of its own but the system's (minutes): bound it with
    /// [`crate::time::timeout`].
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, and what name resolution says.
    pub async fn connect(address: &str) -> io::Result<Self> {
        #[cfg(madsim)]
        if let Some(here) = crate::simulation::here() {
            let (read, write) = simulated::connect(here, address).await?;
            return Ok(Self::simulated(read, write));
        }
        let (read, write) = real::connect(address).await?;
        Ok(Self { read: ReadHalf(Reading::Real(read)), write: WriteHalf(Writing::Real(write)) })
    }

    #[cfg(madsim)]
    fn simulated(read: simulated::ReadHalf, write: simulated::WriteHalf) -> Self {
        Self { read: ReadHalf(Reading::Simulated(read)), write: WriteHalf(Writing::Simulated(write)) }
    }

    /// The two directions, for two tasks.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    /// As [`ReadHalf::read`].
    ///
    /// # Errors
    /// As there.
    pub async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.read.read(buffer).await
    }

    /// As [`WriteHalf::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, header: &[u8], body: &[Slice]) -> io::Result<()> {
        self.write.send(header, body).await
    }

    /// As [`WriteHalf::shutdown`].
    ///
    /// # Errors
    /// As there.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.write.shutdown().await
    }

    /// The other end's address.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.read.peer_address()
    }

    /// This end's address.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.read.local_address()
    }
}

impl ReadHalf {
    /// Waits until something has arrived, appends some of it to the buffer, and returns how many bytes; 0 is the end.
    /// The buffer grows only by what arrived. A cancelled call loses nothing.
    ///
    /// # Errors
    /// `ConnectionReset` when the peer or its machine broke off; bytes that arrived before are then lost.
    pub async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        either!(&mut self.0, Reading, half => half.read(buffer).await, half => half.read(buffer).await)
    }

    /// The other end's address.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        either!(&self.0, Reading, half => half.peer_address(), half => half.peer_address())
    }

    /// This end's address.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        either!(&self.0, Reading, half => half.local_address(), half => half.local_address())
    }
}

impl WriteHalf {
    /// Sends the header and then the body's pieces, and waits until the system has taken all of it: a peer that does
    /// not read makes this wait. Not safe to cancel: a part may have been sent.
    ///
    /// # Errors
    /// `BrokenPipe` or `ConnectionReset` when the connection is gone, `UnexpectedEof` when a file is shorter than its
    /// slice. After an error, and after a cancelled call, the connection must be dropped: a part may have been sent.
    pub async fn send(&mut self, header: &[u8], body: &[Slice]) -> io::Result<()> {
        either!(&mut self.0, Writing, half => half.send(header, body).await, half => half.send(header, body).await)
    }

    /// Ends this direction (FIN) once everything sent has left; the other one stays open.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        either!(&mut self.0, Writing, half => half.shutdown(), half => half.shutdown())
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadHalf").field(&self.peer_address().ok()).finish()
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = either!(&self.0, Writing, half => half.peer_address(), half => half.peer_address());
        f.debug_tuple("WriteHalf").field(&peer.ok()).finish()
    }
}
