//! The files of the disk tier: segments that pages are appended to, each page checked when it is read.
//!
//! A segment begins with [`MAGIC`], its number and its queue. Each entry is a header, the key and the page. The header's
//! checksum covers the segment's number and the entry's offset, so that an entry that was moved or belongs to another file
//! is not one; the page's checksum is seeded with the key's. Whatever does not check out ends the scan of its segment, or
//! is a miss when read. Numbers are little-endian.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use twox_hash::XxHash64;

use super::super::page::{FileKey, PageKey};

const MAGIC: &[u8; 8] = b"PLYPAGE1";
/// Magic, number, queue.
const SEGMENT_HEADER_BYTES: u64 = 24;
/// Key length, page length, page checksum, header checksum.
const ENTRY_HEADER_BYTES: usize = 24;
/// Keys are a location and three numbers; more is damage.
const KEY_BYTES_MAX: usize = 16 << 10;
const FILE_PREFIX: &str = "pages-";
const FILE_SUFFIX: &str = ".segment";

/// Where pages wait for their second use, or stay after it (S3-FIFO's two queues).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    Small,
    Main,
}

/// One open file of the tier.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) queue: Queue,
    path: PathBuf,
    file: File,
}

/// A segment that an earlier process left.
pub(super) struct Recovered {
    pub(super) segment: Segment,
    pub(super) entries: Vec<(PageKey, Place)>,
    /// Where its entries end.
    pub(super) bytes: u64,
}

/// Where a page is in its segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) bytes: u32,
    checksum: u64,
}

impl Segment {
    /// Creates the file; its length is the second value.
    pub(super) fn create(folder: &Path, number: u64, queue: Queue) -> io::Result<(Self, u64)> {
        let path = folder.join(format!("{FILE_PREFIX}{number:016x}{FILE_SUFFIX}"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        let mut header = Vec::with_capacity(SEGMENT_HEADER_BYTES as usize);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&number.to_le_bytes());
        header.extend_from_slice(&u64::from(queue == Queue::Main).to_le_bytes());
        file.write_all_at(&header, 0)?;
        Ok((Self { number, queue, path, file }, SEGMENT_HEADER_BYTES))
    }

    /// Opens a file that an earlier process left, and finds its entries and where they end.
    pub(super) fn open(path: PathBuf) -> io::Result<Recovered> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "not a segment of the page cache");
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut header = [0; SEGMENT_HEADER_BYTES as usize];
        file.read_exact_at(&mut header, 0)?;
        let number = number_of(&path).ok_or_else(damaged)?;
        if &header[..8] != MAGIC || header[8..16] != number.to_le_bytes() {
            return Err(damaged());
        }
        let queue = if header[16] == 1 { Queue::Main } else { Queue::Small };
        let segment = Self { number, queue, path, file };
        let (entries, end) = segment.scan()?;
        segment.file.set_len(end)?;
        Ok(Recovered { segment, entries, bytes: end })
    }

    /// Every entry whose header checks out, up to the first that does not.
    fn scan(&self) -> io::Result<(Vec<(PageKey, Place)>, u64)> {
        let length = self.file.metadata()?.len();
        let (mut entries, mut offset) = (Vec::new(), SEGMENT_HEADER_BYTES);
        let mut names: std::collections::HashSet<Arc<str>> = std::collections::HashSet::new();
        let mut header = [0; ENTRY_HEADER_BYTES];
        while offset + ENTRY_HEADER_BYTES as u64 <= length {
            self.file.read_exact_at(&mut header, offset)?;
            let (key_bytes, page_bytes) = (u32_at(&header, 0) as usize, u32_at(&header, 4));
            let page = offset + (ENTRY_HEADER_BYTES + key_bytes) as u64;
            let next = page + u64::from(page_bytes);
            if !(24..=KEY_BYTES_MAX).contains(&key_bytes) || next > length {
                break;
            }
            let mut key = vec![0; key_bytes];
            self.file.read_exact_at(&mut key, offset + ENTRY_HEADER_BYTES as u64)?;
            if u64_at(&header, 16) != self.header_checksum(&header[..16], offset, &key) {
                break;
            }
            let Some(key) = decode_key(&key, &mut names) else { break };
            entries.push((key, Place { offset: page, bytes: page_bytes, checksum: u64_at(&header, 8) }));
            offset = next;
        }
        Ok((entries, offset))
    }

    /// Writes an entry at the end of the file, which is `offset`; the second value is the new end.
    pub(super) fn append(&self, offset: u64, key: &PageKey, page: &[u8]) -> io::Result<(Place, u64)> {
        let key = key.encode();
        let checksum = page_checksum(&key, page);
        let mut entry = Vec::with_capacity(ENTRY_HEADER_BYTES + key.len());
        entry.extend_from_slice(&(key.len() as u32).to_le_bytes());
        entry.extend_from_slice(&(page.len() as u32).to_le_bytes());
        entry.extend_from_slice(&checksum.to_le_bytes());
        let header_checksum = self.header_checksum(&entry, offset, &key);
        entry.extend_from_slice(&header_checksum.to_le_bytes());
        entry.extend_from_slice(&key);
        // The page first: a header without its page must not look whole.
        let page_offset = offset + entry.len() as u64;
        self.file.write_all_at(page, page_offset)?;
        self.file.write_all_at(&entry, offset)?;
        Ok((Place { offset: page_offset, bytes: page.len() as u32, checksum }, page_offset + page.len() as u64))
    }

    /// The page at a place, if it is still the one that was written there, in a buffer of its size.
    pub(super) fn read(&self, key: &PageKey, place: Place, mut page: Vec<u8>) -> io::Result<Option<Bytes>> {
        self.file.read_exact_at(&mut page, place.offset)?;
        Ok((page_checksum(&key.encode(), &page) == place.checksum).then(|| Bytes::from(page)))
    }

    /// Makes a page one that does not check out.
    pub(super) fn spoil(&self, place: Place) -> io::Result<()> {
        let mut first = [0; 8];
        let bytes = first.len().min(place.bytes as usize);
        self.file.read_exact_at(&mut first[..bytes], place.offset)?;
        first.iter_mut().for_each(|byte| *byte = !*byte);
        self.file.write_all_at(&first[..bytes], place.offset)
    }

    /// Cuts off what a failed write left.
    pub(super) fn truncate(&self, end: u64) {
        let _ = self.file.set_len(end);
    }

    /// Removes the file. Reads that have begun still end well.
    pub(super) fn delete(&self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "a file of the page cache could not be deleted");
        }
    }

    fn header_checksum(&self, header: &[u8], offset: u64, key: &[u8]) -> u64 {
        XxHash64::oneshot(XxHash64::oneshot(self.number ^ offset.rotate_left(32), header), key)
    }
}

/// The segments in a folder, oldest first.
pub(super) fn segments_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        found.extend(number_of(&path).map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The number in a segment's file name.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    u64::from_str_radix(name.strip_prefix(FILE_PREFIX)?.strip_suffix(FILE_SUFFIX)?, 16).ok()
}

/// Bytes that an entry takes on disk, with the segment that it may begin.
pub(super) fn entry_bytes(key: &PageKey, page_bytes: usize) -> u64 {
    SEGMENT_HEADER_BYTES + (ENTRY_HEADER_BYTES + 24 + key.file.name.len() + page_bytes) as u64
}

fn page_checksum(key: &[u8], page: &[u8]) -> u64 {
    XxHash64::oneshot(XxHash64::oneshot(0, key), page)
}

fn decode_key(bytes: &[u8], names: &mut std::collections::HashSet<Arc<str>>) -> Option<PageKey> {
    let name = std::str::from_utf8(&bytes[24..]).ok()?;
    let name = match names.get(name) {
        Some(known) => Arc::clone(known),
        None => {
            let new: Arc<str> = Arc::from(name);
            names.insert(Arc::clone(&new));
            new
        }
    };
    let file = FileKey { name, size_bytes: u64_at(bytes, 0) };
    Some(PageKey { file, start: u64_at(bytes, 8), end: u64_at(bytes, 16) })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
