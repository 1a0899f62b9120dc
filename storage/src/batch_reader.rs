//! Reading a segment's file batch by batch, as it lies, for whoever judges it.
//!
//! It believes nothing but the file's size.

use protocol::record_batch::{BatchHeader, HEADER_BYTES};
use runtime::disk::File;
use std::io;

/// Reads a file front to back in pieces; a larger batch is read whole.
pub(crate) struct BatchReader {
    file: File,
    size: u64,
    piece: usize,
    /// Where `bytes` begins.
    at: u64,
    bytes: Vec<u8>,
}

impl BatchReader {
    /// Reads this file up to this size, so many bytes at once.
    pub fn new(file: File, size: u64, piece: usize) -> Self {
        Self { file, size, piece, at: 0, bytes: Vec::new() }
    }

    /// The header of the batch at a position, or why there is none.
    pub fn header(&mut self, position: u64) -> io::Result<Result<BatchHeader, String>> {
        let left = self.size - position;
        if left < HEADER_BYTES as u64 {
            return Ok(Err(format!("{left} bytes are no batch")));
        }
        self.cover(position, HEADER_BYTES)?;
        let header = BatchHeader::parse(&self.bytes[(position - self.at) as usize..]);
        Ok(header.map_err(|error| error.to_string()).and_then(|header| match header.size() {
            size if size as u64 > left => Err(format!("a batch of {size} bytes is cut off after {left}")),
            _ => Ok(header),
        }))
    }

    /// The batch at a position, or why there is none.
    pub fn batch(&mut self, position: u64) -> io::Result<Result<(BatchHeader, &[u8]), String>> {
        let header = match self.header(position)? {
            Ok(header) => header,
            Err(what) => return Ok(Err(what)),
        };
        self.cover(position, header.size())?;
        let from = (position - self.at) as usize;
        Ok(Ok((header, &self.bytes[from..from + header.size()])))
    }

    /// Holds at least so many bytes from a position on; the caller knows that the file has them.
    fn cover(&mut self, position: u64, length: usize) -> io::Result<()> {
        let covered = position >= self.at && position + length as u64 <= self.at + self.bytes.len() as u64;
        if !covered {
            let wanted = (self.size - position).min(length.max(self.piece) as u64) as usize;
            self.bytes.resize(wanted, 0);
            self.file.read_exact_at(&mut self.bytes, position)?;
            self.at = position;
        }
        Ok(())
    }
}
