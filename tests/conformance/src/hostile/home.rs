//! A domain that shares the suite's image, and can write to nothing of it.

use super::place::Part;
use crate::actor::{self, Body};
use crate::bench::Bench;
use crate::call::call;
use crate::outcome::Failure;
use abi::syscall::{MapAccess, Syscall};
use abi::{Error, PAGE_SIZE, root};
use alloc::vec::Vec;

/// Pages for page tables: a root, and more than are needed below it.
const TABLES: u64 = 9;

/// The memory of such a domain, which outlives it, and the domain while there is one.
pub(super) struct Home {
    tables: u64,
    pages: u64,
    next_page: u64,
    domain: u64,
    space: u64,
    /// What was made for the domain and goes with it, in the order of making.
    owned: Vec<u64>,
}

/// Who runs on which processor's time, and how much of it.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub(super) priority: u64,
    pub(super) slice: u64,
    pub(super) period: u64,
    pub(super) cpu: u64,
}

impl Home {
    /// Memory for a domain with so many pages of its own.
    pub(super) fn new(bench: &mut Bench, pages: u64) -> Result<Self, Failure> {
        let (tables, pages) = (bench.memory(TABLES)?, bench.memory(pages)?);
        Ok(Home { tables, pages, next_page: 0, domain: 0, space: 0, owned: Vec::new() })
    }

    /// Makes the domain, with a table of 64 slots, and maps the image.
    pub(super) fn build(&mut self, bench: &Bench, level: u64, handler: u64, badge: u64) -> Result<(), Failure> {
        self.next_page = 0;
        self.space = call(Syscall::SpaceCreate, [root::ACCOUNT.0, self.tables, 0])?;
        call(Syscall::SpaceDonate, [self.space, self.tables, 1, TABLES - 1])?;
        for segment in bench.segments() {
            let (memory, first) = bench.image_page(segment.address)?;
            let pages = segment.extent.len.div_ceil(PAGE_SIZE);
            // The data too, where the compiler keeps addresses of functions; nobody but the first thread writes to it.
            let access =
                if segment.access == MapAccess::ReadExecute as u32 { MapAccess::ReadExecute } else { MapAccess::Read };
            call(Syscall::Map, [self.space, memory, segment.address, first, pages, access as u64])?;
        }
        self.domain = call(Syscall::DomainCreate, [root::ACCOUNT.0, self.space, level, 64, handler, badge])?;
        Ok(())
    }

    /// The domain.
    pub(super) fn domain(&self) -> u64 {
        self.domain
    }

    /// Maps the next of the domain's own pages, and says which they are.
    pub(super) fn map(&mut self, part: Part) -> Result<u64, Error> {
        let first = self.next_page;
        self.map_again(first, part, MapAccess::ReadWrite)?;
        self.next_page += part.pages;
        Ok(first)
    }

    /// Maps pages that are mapped already.
    pub(super) fn map_again(&self, first: u64, part: Part, access: MapAccess) -> Result<(), Error> {
        call(Syscall::Map, [self.space, self.pages, part.address, first, part.pages, access as u64])?;
        Ok(())
    }

    /// Maps own pages of the domain for the first thread, to read and write.
    pub(super) fn map_for_root(&self, first: u64, address: u64, pages: u64) -> Result<(), Error> {
        call(Syscall::Map, [root::SPACE.0, self.pages, address, first, pages, MapAccess::ReadWrite as u64])?;
        Ok(())
    }

    /// A thread of the domain with its buffer, which does not run yet. Its buffer is the page `page`.
    pub(super) fn thread(&mut self, share: Share, page: u64, buffer: Part) -> Result<u64, Error> {
        let Share { priority, slice, period, cpu } = share;
        let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, priority, slice, period, cpu])?;
        self.owned.push(budget);
        let thread = call(Syscall::ThreadCreate, [root::ACCOUNT.0, self.domain, budget])?;
        self.owned.push(thread);
        call(Syscall::ThreadBuffer, [thread, self.pages, page, buffer.address])?;
        Ok(thread)
    }

    /// Something that was made for the domain and goes with it.
    pub(super) fn owns(&mut self, handle: u64) -> u64 {
        self.owned.push(handle);
        handle
    }

    /// Puts a copy with all rights into the domain's table.
    pub(super) fn give(&self, handle: u64) -> Result<u64, Error> {
        call(Syscall::CapGrant, [self.domain, handle, u16::MAX.into(), 0])
    }

    /// Takes the domain apart, and everything that was made for it.
    pub(super) fn destroy(&mut self) -> Result<(), Failure> {
        call(Syscall::Destroy, [self.domain])?;
        call(Syscall::CapDelete, [self.domain])?;
        call(Syscall::Destroy, [self.space])?;
        call(Syscall::CapDelete, [self.space])?;
        // Threads before their budgets, what was made of an account before it.
        while let Some(handle) = self.owned.pop() {
            match call(Syscall::Destroy, [handle]) {
                // The domain itself has destroyed it, or it went with the domain.
                Ok(_) | Err(Error::StaleHandle) => {}
                // Memory is an authority, and no object.
                Err(_) => {
                    call(Syscall::CapRevoke, [handle])?;
                }
            }
            match call(Syscall::CapDelete, [handle]) {
                Ok(_) | Err(Error::StaleHandle) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // What domains have made of their own memory.
        call(Syscall::CapRevoke, [self.tables])?;
        Ok(())
    }
}

/// Starts a thread anew.
pub(super) fn start(thread: u64, body: Body, stack: u64, argument: u64) -> Result<(), Error> {
    call(Syscall::ThreadStop, [thread])?;
    call(Syscall::ThreadStart, [thread, actor::code(body), stack, argument])?;
    Ok(())
}
