//! Counts what each thread allocates, so that the memory of planning can be bounded.
//!
//! The library that plans has no budget of its own: it allocates, and an allocator can only give memory or end the process. So the
//! process's allocator counts, and `budget` looks at the count between the steps of planning. A process without
//! [`CountingAllocator`] counts nothing, and bounds only what can be estimated.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has allocated, less those that it has freed. Needs no destructor, so it is there as long as the thread.
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

/// Bytes that this thread has allocated so far, less those that it has freed, whoever allocated them.
pub(crate) fn bytes() -> isize {
    BYTES.get()
}

fn count(bytes: isize) {
    BYTES.set(BYTES.get().wrapping_add(bytes));
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
