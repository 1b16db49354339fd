//! Counts what each thread allocates, so that the memory of planning and of computing can be bounded.
//!
//! The library that plans and computes has no budget of its own: it allocates, and an allocator can only give memory or end the process.
//! So the process's allocator counts; `budget` looks at the count between the steps of planning, and `memory_guard` at those of the threads
//! that compute. A process without [`CountingAllocator`] counts nothing, and bounds only what can be estimated.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

/// A thread tells others what it has allocated in steps of so many bytes.
const STEP_BYTES: isize = 64 << 10;

/// Bytes that all threads have allocated, less those that were freed, to a step of each.
static ALL: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    /// Bytes that this thread has allocated, less those that it has freed. Needs no destructor, so it is there as long as the thread.
    static BYTES: Cell<isize> = const { Cell::new(0) };
    /// What others were not told yet.
    static UNTOLD: Cell<isize> = const { Cell::new(0) };
    /// Where this thread counts beside [`ALL`].
    static ACCOUNT: Cell<Option<&'static AtomicIsize>> = const { Cell::new(None) };
}

/// Bytes that this thread has allocated so far, less those that it has freed, whoever allocated them.
pub(crate) fn bytes() -> isize {
    BYTES.get()
}

/// Bytes that the process holds, about.
pub(crate) fn all_bytes() -> u64 {
    u64::try_from(ALL.load(Relaxed)).unwrap_or(0)
}

/// Counts what this thread allocates, less what it frees, here too.
pub(crate) fn count_in(account: &'static AtomicIsize) {
    ACCOUNT.set(Some(account));
}

fn count(bytes: isize) {
    BYTES.set(BYTES.get().wrapping_add(bytes));
    let untold = UNTOLD.get().wrapping_add(bytes);
    if untold.abs() < STEP_BYTES {
        UNTOLD.set(untold);
        return;
    }
    UNTOLD.set(0);
    ALL.fetch_add(untold, Relaxed);
    if let Some(account) = ACCOUNT.get() {
        account.fetch_add(untold, Relaxed);
    }
}

/// An allocator that counts for the thread that calls it. To be the `#[global_allocator]` of a process.
#[derive(Debug)]
pub struct CountingAllocator<A>(pub A);

// Sound if the inner allocator is: every call is passed on as it came, and counting neither allocates nor unwinds.
#[allow(unsafe_code)]
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as isize - layout.size() as isize);
        unsafe { self.0.realloc(pointer, layout, new_size) }
    }
}
