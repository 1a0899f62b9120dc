//! `gregor log dump`: what `kafka-dump-log` prints, line for line (`DumpLogSegments`). Control records of Kafka's own
//! metadata log are named and not decoded.

use super::{Dump, indexes};
use crate::output::Failure;
use protocol::{
    compression::Compression,
    ids::{Offset, Sequence},
    record_batch::{BatchHeader, HEADER_BYTES, Record, TimestampType, check_crc, records},
};
use runtime::disk::{Disk, File, Open};
use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

/// What the records of one batch may grow to in memory.
const BATCH_BYTES_MAX: usize = 100 << 20;
/// Bytes before a batch's length counts: the base offset and the length itself.
const LENGTH_AFTER: usize = 12;
/// The attribute that says that the base timestamp is a delete horizon (KAFKA-8522).
const DELETE_HORIZON: i16 = 0x40;

/// Files that belong to one segment: their folder, and the offset in their names.
pub struct Segment {
    /// Where they are.
    pub disk: Disk,
    /// The first part of their names.
    pub stem: String,
    /// The offset that it says.
    pub base_offset: Offset,
}

impl Segment {
    /// Opens the file of this kind.
    pub fn open(&self, suffix: &str) -> io::Result<File> {
        self.disk.open(&format!("{}.{suffix}", self.stem), Open::Existing)
    }
}

/// What is wrong with files, to be told at the end.
pub type Findings = Vec<String>;

impl Dump {
    /// Runs the command: exit code 1 when something is wrong with a file.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut findings = Findings::new();
        for path in &self.files {
            match self.dump(path, &mut out, &mut findings) {
                Ok(()) => {}
                // Whoever reads has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
                Err(error) => return Err(Failure::new(format!("{}: {error}", path.display()))),
            }
        }
        if let Err(error) = out.flush()
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(error.into());
        }
        findings.iter().for_each(|finding| eprintln!("{finding}"));
        Ok(ExitCode::from(u8::from(!findings.is_empty())))
    }

    fn dump(&self, path: &Path, out: &mut impl Write, findings: &mut Findings) -> io::Result<()> {
        let place = path.display().to_string();
        writeln!(out, "Dumping {place}")?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (stem, suffix) = name.rsplit_once('.').unwrap_or((&name, ""));
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !path.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such file"));
        }
        let base_offset = stem.parse().map(Offset);
        if !["log", "index", "timeindex", "txnindex", "snapshot"].contains(&suffix) {
            findings.push(format!("Ignoring unknown file {place}"));
            return Ok(());
        }
        let not_named = || io::Error::new(io::ErrorKind::InvalidInput, "its name is not that of a file of a segment");
        let segment = Segment {
            disk: Disk::real(folder)?,
            stem: stem.into(),
            base_offset: base_offset.map_err(|_| not_named())?,
        };
        match suffix {
            "log" => self.segment(&segment, &name, &place, out, findings),
            "index" => indexes::offsets(&segment, &place, self.shows_entries(), out, findings),
            "timeindex" => indexes::times(&segment, &place, self.shows_entries(), out, findings),
            "txnindex" => indexes::aborted(&segment, out),
            _ => indexes::producers(&segment, out, findings),
        }
    }

    fn shows_entries(&self) -> indexes::Shows {
        match (self.index_sanity_check, self.verify_index_only) {
            (true, _) => indexes::Shows::Sanity,
            (false, true) => indexes::Shows::Findings,
            (false, false) => indexes::Shows::Entries,
        }
    }

    fn segment(
        &self,
        segment: &Segment,
        name: &str,
        place: &str,
        out: &mut impl Write,
        findings: &mut Findings,
    ) -> io::Result<()> {
        writeln!(out, "Log starting offset: {}", segment.base_offset)?;
        let file = segment.open("log")?;
        let length = file.len()?.min(self.max_bytes.unwrap_or(u64::MAX));
        let (mut position, mut last) = (0, None);
        let mut gaps = Findings::new();
        while let Some(batch) = batch_at(&file, position, length)? {
            let header = BatchHeader::parse(&batch).map_err(io::Error::other)?;
            let is_valid = check_crc(&header, &batch).is_ok();
            writeln!(out, "{}", batch_line(&header, position, is_valid))?;
            if self.deep_iteration || self.print_data_log {
                // What cannot be decoded cannot be printed: the batch's line has said that it is not valid.
                for record in records(&batch, BATCH_BYTES_MAX).unwrap_or_default() {
                    if let Some(last) = last.filter(|last: &Offset| last.plus(1) != record.offset) {
                        gaps.push(format!("  {last} is followed by {}", record.offset));
                    }
                    last = Some(record.offset);
                    writeln!(out, "|{}", self.record_line(&header, &record))?;
                }
            }
            position += batch.len() as u64;
        }
        if position < length && self.max_bytes.is_none() {
            writeln!(out, "Found {} invalid bytes at the end of {name}", length - position)?;
        }
        if !gaps.is_empty() {
            findings.push(format!("Non-consecutive offsets in {place}"));
            findings.extend(gaps);
        }
        Ok(())
    }

    fn record_line(&self, header: &BatchHeader, record: &Record) -> String {
        let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(-1, |bytes| bytes.len() as i64);
        let mut line = String::new();
        if !self.skip_record_metadata {
            let keys: Vec<&str> = record.headers.iter().map(|header| header.key.as_str()).collect();
            line += &format!(
                " offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [{}]",
                record.offset,
                timestamp_name(header.timestamp_type()),
                record.timestamp.0,
                size(&record.key),
                size(&record.value),
                sequence(header, record.offset),
                keys.join(","),
            );
            if header.is_control() {
                line += &control(record);
            }
        }
        if self.print_data_log && !header.is_control() {
            for (word, bytes) in [("key", &record.key), ("payload", &record.value)] {
                if let Some(bytes) = bytes {
                    line += &format!(" {word}: {}", String::from_utf8_lossy(bytes));
                }
            }
        }
        line
    }
}

/// The batch at this position, if a whole one is there.
pub fn batch_at(file: &File, position: u64, length: u64) -> io::Result<Option<Vec<u8>>> {
    if position + HEADER_BYTES as u64 > length {
        return Ok(None);
    }
    let mut head = [0; LENGTH_AFTER];
    file.read_exact_at(&mut head, position)?;
    let announced = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    let size = u64::try_from(announced).unwrap_or(0) + LENGTH_AFTER as u64;
    if size < HEADER_BYTES as u64 || position + size > length {
        return Ok(None);
    }
    let mut batch = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut batch, position)?;
    Ok(Some(batch))
}

fn batch_line(header: &BatchHeader, position: u64, is_valid: bool) -> String {
    let horizon = if header.attributes & DELETE_HORIZON == 0 {
        "OptionalLong.empty".to_owned()
    } else {
        format!("OptionalLong[{}]", header.base_timestamp.0)
    };
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon} position: {position} \
         {}: {} size: {} magic: {} compresscodec: {} crc: {} isvalid: {is_valid}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence.0,
        header.last_sequence().0,
        header.producer_id,
        header.producer_epoch.0,
        header.leader_epoch,
        header.is_transactional(),
        header.is_control(),
        timestamp_name(header.timestamp_type()),
        header.max_timestamp.0,
        header.size(),
        header.magic,
        codec_name(header.compression()),
        header.crc,
    )
}

fn sequence(header: &BatchHeader, offset: Offset) -> i32 {
    if header.base_sequence == Sequence::NONE {
        return Sequence::NONE.0;
    }
    let delta = i32::try_from(offset.0 - header.base_offset.0).unwrap_or(0);
    header.base_sequence.0.checked_add(delta).unwrap_or_else(|| delta - (i32::MAX - header.base_sequence.0) - 1)
}

fn timestamp_name(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn codec_name(codec: Option<Compression>) -> &'static str {
    match codec {
        Some(Compression::None) => "none",
        Some(Compression::Gzip) => "gzip",
        Some(Compression::Snappy) => "snappy",
        Some(Compression::Lz4) => "lz4",
        Some(Compression::Zstd) => "zstd",
        None => "unknown",
    }
}

/// What a control record says: its key is a version and a type (`ControlRecordType`), its value depends on the type.
fn control(record: &Record) -> String {
    let int = |bytes: &Option<bytes::Bytes>, at: usize, size: usize| {
        let bytes = bytes.as_ref()?.get(at..at + size)?;
        Some(bytes.iter().fold(0i32, |number, byte| number << 8 | i32::from(*byte)))
    };
    let kind = int(&record.key, 2, 2).unwrap_or(-1);
    let name = match kind {
        0 | 1 => {
            let coordinator_epoch = int(&record.value, 2, 4).unwrap_or(-1);
            let marker = if kind == 0 { "ABORT" } else { "COMMIT" };
            return format!(" endTxnMarker: {marker} coordinatorEpoch: {coordinator_epoch}");
        }
        2 => "LEADER_CHANGE",
        3 => "SNAPSHOT_HEADER",
        4 => "SNAPSHOT_FOOTER",
        5 => "KRAFT_VERSION",
        6 => "KRAFT_VOTERS",
        _ => "UNKNOWN",
    };
    format!(" controlType: {name}({kind})")
}
