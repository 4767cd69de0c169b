//! What never touches the heap: counted by the allocator itself.

#![allow(
    unsafe_code,
    reason = "an allocator cannot be written without; this one only counts"
)]

mod hits;
mod keys;
mod misses;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        LARGEST.with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System`, since all do.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How often this thread has allocated so far.
fn so_far() -> usize {
    ALLOCATIONS.get()
}

/// The largest block that this thread has asked for since this was asked last.
fn largest() -> usize {
    LARGEST.replace(0)
}
