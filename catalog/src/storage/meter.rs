//! Counts the requests made to stores, by kind, and the bytes moved.
//!
//! A meter is a set of counters that only grow. What a query cost is the difference of two snapshots, or the whole of a
//! meter made for that query (see [`Storage::metered`](super::Storage::metered)).

use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of requests by kind, and of bytes. Shared behind an `Arc`, and counted without locks.
#[derive(Debug, Default)]
pub struct RequestMeter {
    /// Reads of objects or of ranges.
    pub get: AtomicU64,
    /// Questions about an object's size or existence.
    pub head: AtomicU64,
    /// Writes: whole objects, parts, copies, and the start and end of a multipart upload.
    pub put: AtomicU64,
    /// Deletions: one per object asked for.
    pub delete: AtomicU64,
    /// Listings: one per page of up to 1000 keys.
    pub list: AtomicU64,
    /// Bytes received from objects.
    pub bytes_read: AtomicU64,
    /// Bytes sent as objects.
    pub bytes_written: AtomicU64,
}

impl RequestMeter {
    /// The counts so far, as plain numbers.
    pub fn snapshot(&self) -> RequestCounts {
        RequestCounts {
            get: self.get.load(Relaxed),
            head: self.head.load(Relaxed),
            put: self.put.load(Relaxed),
            delete: self.delete.load(Relaxed),
            list: self.list.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
        }
    }
}

/// What a [`RequestMeter`] had counted at one moment, or between two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Reads of objects or of ranges.
    pub get: u64,
    /// Questions about an object's size or existence.
    pub head: u64,
    /// Writes: whole objects, parts, copies, and the start and end of a multipart upload.
    pub put: u64,
    /// Deletions: one per object asked for.
    pub delete: u64,
    /// Listings: one per page of up to 1000 keys.
    pub list: u64,
    /// Bytes received from objects.
    pub bytes_read: u64,
    /// Bytes sent as objects.
    pub bytes_written: u64,
}

impl RequestCounts {
    /// All requests, of every kind.
    pub fn requests(&self) -> u64 {
        self.get + self.head + self.put + self.delete + self.list
    }
}

impl Sub for RequestCounts {
    type Output = Self;

    /// What happened after `earlier`. Never negative.
    fn sub(self, earlier: Self) -> Self {
        Self {
            get: self.get.saturating_sub(earlier.get),
            head: self.head.saturating_sub(earlier.head),
            put: self.put.saturating_sub(earlier.put),
            delete: self.delete.saturating_sub(earlier.delete),
            list: self.list.saturating_sub(earlier.list),
            bytes_read: self.bytes_read.saturating_sub(earlier.bytes_read),
            bytes_written: self.bytes_written.saturating_sub(earlier.bytes_written),
        }
    }
}

impl Add for RequestCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            get: self.get + other.get,
            head: self.head + other.head,
            put: self.put + other.put,
            delete: self.delete + other.delete,
            list: self.list + other.list,
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_written: self.bytes_written + other.bytes_written,
        }
    }
}
