//! Real sockets through tokio.

use super::Slice;
use crate::disk::FileSlice;
use bytes::{Buf, BytesMut};
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown};
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
};

/// How many pieces one system call takes.
const PIECES: usize = 64;
/// How many bytes one `sendfile` call may move, so that one connection does not hold a worker for long.
const SENDFILE_BYTES: u64 = 1 << 20;
/// The room offered to one read of a connection that has something to read.
const READ_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// The socket is closed when both halves are gone; until then the end of one says nothing about the other.
pub(super) struct ReadHalf(Arc<TcpStream>);
pub(super) struct WriteHalf(Arc<TcpStream>);

fn split(stream: TcpStream) -> io::Result<(ReadHalf, WriteHalf)> {
    stream.set_nodelay(true)?;
    let stream = Arc::new(stream);
    Ok((ReadHalf(stream.clone()), WriteHalf(stream)))
}

pub(super) async fn connect(address: &str) -> io::Result<(ReadHalf, WriteHalf)> {
    split(TcpStream::connect(address).await?)
}

impl Listener {
    pub(super) async fn bind(address: &str) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    pub(super) fn local_address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn accept(&self) -> io::Result<(ReadHalf, WriteHalf, SocketAddr)> {
        loop {
            let (stream, from) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                // The peer gave up while it waited to be accepted: nobody's fault, and nobody to serve.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            if let Ok((read, write)) = split(stream) {
                return Ok((read, write, from));
            }
        }
    }
}

impl ReadHalf {
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            // Room is made only when there is something to put in it: an idle connection holds no buffer.
            self.0.readable().await?;
            if buffer.capacity() - buffer.len() < READ_BYTES / 4 {
                buffer.reserve(READ_BYTES);
            }
            match self.0.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    pub(super) fn peer_address(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl WriteHalf {
    pub(super) async fn send(&mut self, header: &[u8], body: &[Slice]) -> io::Result<()> {
        let mut memory = VecDeque::with_capacity(PIECES.min(body.len() + 1));
        memory.push_back(header);
        for slice in body {
            match slice {
                Slice::Bytes(bytes) => memory.push_back(bytes),
                // Nothing would follow what is held back for it.
                Slice::File(slice) if slice.length == 0 => {}
                Slice::File(slice) => {
                    self.send_memory(&mut memory, true).await?;
                    self.send_file(slice).await?;
                }
            }
        }
        self.send_memory(&mut memory, false).await
    }

    /// Sends everything in the queue. `more` holds back a last short packet, to be filled by the file that follows.
    async fn send_memory(&self, pieces: &mut VecDeque<&[u8]>, more: bool) -> io::Result<()> {
        let flags = if more { SendFlags::NOSIGNAL | more_flag() } else { SendFlags::NOSIGNAL };
        loop {
            while pieces.front().is_some_and(|piece| piece.is_empty()) {
                pieces.pop_front();
            }
            if pieces.is_empty() {
                return Ok(());
            }
            let gathered: Vec<IoSlice<'_>> = pieces.iter().take(PIECES).map(|piece| IoSlice::new(piece)).collect();
            let mut sent = self
                .when_writable(|socket| {
                    Ok(rustix::net::sendmsg(socket, &gathered, &mut SendAncillaryBuffer::default(), flags)?)
                })
                .await?;
            while let Some(piece) = pieces.front_mut().filter(|_| sent > 0) {
                let count = sent.min(piece.len());
                piece.advance(count);
                sent -= count;
                if piece.is_empty() {
                    pieces.pop_front();
                }
            }
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    async fn send_file(&self, slice: &FileSlice) -> io::Result<()> {
        let Some(file) = slice.file.real() else { return self.copy_file(slice).await };
        let (mut position, end) = (slice.position, slice.position + slice.length);
        while position < end {
            let count = (end - position).min(SENDFILE_BYTES) as usize;
            let sent = self
                .when_writable(|socket| {
                    let mut offset = position;
                    Ok(rustix::fs::sendfile(socket, file, Some(&mut offset), count)?)
                })
                .await?;
            if sent == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before the slice to send"));
            }
            position += sent as u64;
        }
        Ok(())
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    async fn send_file(&self, slice: &FileSlice) -> io::Result<()> {
        self.copy_file(slice).await
    }

    /// Sends a slice through this process's memory, where the system cannot do without.
    async fn copy_file(&self, slice: &FileSlice) -> io::Result<()> {
        let (mut position, end) = (slice.position, slice.position + slice.length);
        let mut buffer = vec![0; (end - position).min(READ_BYTES as u64) as usize];
        while position < end {
            let count = (end - position).min(READ_BYTES as u64) as usize;
            slice.file.read_exact_at(&mut buffer[..count], position)?;
            self.send_memory(&mut VecDeque::from([&buffer[..count]]), false).await?;
            position += count as u64;
        }
        Ok(())
    }

    /// Calls `attempt` each time the socket can take something, until it does.
    async fn when_writable(&self, mut attempt: impl FnMut(&TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        let socket: &TcpStream = &self.0;
        loop {
            socket.writable().await?;
            match socket.try_io(Interest::WRITABLE, || attempt(socket)) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => return result,
            }
        }
    }

    pub(super) fn shutdown(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&*self.0, Shutdown::Write)?)
    }

    pub(super) fn peer_address(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // With the reading half gone the socket is closed as a whole: by a reset if bytes were left unread.
        if Arc::strong_count(&self.0) > 1 {
            // It fails only on a connection that is gone already.
            let _ = self.shutdown();
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn more_flag() -> SendFlags {
    SendFlags::MORE
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn more_flag() -> SendFlags {
    SendFlags::empty()
}
