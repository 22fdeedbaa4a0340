//! What cases work with: objects, memory and threads made with a word or two, and taken apart afterwards.

use crate::actor::{self, Body};
use crate::call::{self, SECOND, call, notify, results, wait};
use crate::cases::Case;
use crate::outcome::{Failure, Outcome};
use abi::boot::{BootInfo, RootSegment};
use abi::rights::{Kind, MemoryRights};
use abi::root::{self, ExtentKind, FIRST_EXTENT, RootInfo};
use abi::syscall::{Charge, MapAccess, Statistics, Syscall};
use abi::time::NEVER;
use abi::{Error, Handle, PAGE_SIZE};
use alloc::format;

/// The interface that endpoints of cases have unless they say otherwise.
pub(crate) const INTERFACE: u64 = 0x7e57_0000_0000_0001;
/// The level of endpoints of cases.
pub(crate) const LEVEL: u64 = 100;
/// Priority of threads of cases: below the first thread's, above the idle actor's.
pub(crate) const PRIORITY: u64 = 100;
/// A time slice in nanoseconds.
pub(crate) const SLICE: u64 = 2_000_000;

/// Addresses of the own space, up to the end of the 2 MiB window, at which cases may map: the page tables are there.
pub(crate) const WINDOW: u64 = root::INFO_ADDRESS + 0x10_0000 - 0x8_0000;

/// Page tables that a space of a case gets.
const TABLE_PAGES: u64 = 8;

/// Another domain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child {
    /// Its domain.
    pub(crate) domain: u64,
    /// Its space.
    pub(crate) space: u64,
}

/// What the first thread keeps for its cases.
pub(crate) struct Bench {
    /// What the kernel has told about the root domain.
    pub(crate) info: &'static RootInfo,
    free: u64,
    free_pages: u64,
    next_page: u64,
    next_actor: usize,
    idle_wish: u64,
    idle_done: u64,
}

/// Notifies whoever wants to know that no other thread can run: it runs at the lowest priority of all.
extern "C" fn idle_actor(_: u64) -> ! {
    loop {
        let _ = wait(actor::read(IDLE_WISH), NEVER);
        let _ = notify(actor::read(IDLE_DONE), 1);
    }
}

/// Words of the board that the idle actor uses.
const IDLE_WISH: usize = actor::BOARD_WORDS - 1;
const IDLE_DONE: usize = actor::BOARD_WORDS - 2;

impl Bench {
    /// Looks at the machine and starts the idle actor.
    pub(crate) fn new(info: &'static RootInfo) -> Result<Self, Failure> {
        let extents = info.extents.iter().take(info.extents_used as usize).enumerate();
        let free = extents
            .filter(|(_, extent)| extent.kind == ExtentKind::Free as u32)
            .max_by_key(|(_, extent)| extent.pages)
            .ok_or_else(|| Failure::new("no free memory".into()))?;
        let mut bench = Bench {
            info,
            free: Handle::new(FIRST_EXTENT + free.0 as u16, 1).0,
            free_pages: free.1.pages,
            next_page: 0,
            next_actor: 0,
            idle_wish: 0,
            idle_done: 0,
        };
        bench.idle_wish = bench.notification()?;
        bench.idle_done = bench.notification()?;
        bench.restart_board();
        bench.thread_at(root::DOMAIN.0, 1, idle_actor, 0)?;
        Ok(bench)
    }

    fn restart_board(&self) {
        actor::clear();
        actor::write(IDLE_WISH, self.idle_wish);
        actor::write(IDLE_DONE, self.idle_done);
    }

    /// Runs a case and takes apart what it has left.
    pub(crate) fn run(&mut self, case: &Case) -> Outcome {
        let ((), before, after) = self.isolated(case.run)?;
        if after.objects != before.objects || after.kernel_frames != before.kernel_frames {
            let (old, new) = (before.objects, after.objects);
            return Err(Failure::new(format!(
                "left behind: objects {old:?} before, {new:?} after; kernel pages {} before, {} after",
                before.kernel_frames, after.kernel_frames
            )));
        }
        if after.mapped_frames != before.mapped_frames {
            let (old, new) = (before.mapped_frames, after.mapped_frames);
            return Err(Failure::new(format!("left behind: {old} mapped pages before, {new} after")));
        }
        Ok(())
    }

    /// Does something, takes apart what it has left, and says what the machine's statistics were before and are after.
    pub(crate) fn isolated<T>(
        &mut self,
        work: impl FnOnce(&mut Bench) -> Result<T, Failure>,
    ) -> Result<(T, Statistics, Statistics), Failure> {
        let (page, actor, before) = (self.next_page, self.next_actor, statistics()?);
        let first = self.first_unused_slots();
        let outcome = work(self);
        let cleaned = self.clean(&first);
        self.restart_board();
        self.next_page = page;
        self.next_actor = actor;
        let outcome = outcome?;
        cleaned?;
        Ok((outcome, before, statistics()?))
    }

    /// Which slots of the own table are used, one bit each.
    fn first_unused_slots(&self) -> [u64; 16] {
        let mut used = [0; 16];
        for index in 1..u64::from(root::TABLE_LENGTH) {
            if inspect(index).is_some() {
                used[index as usize / 64] |= 1 << (index % 64);
            }
        }
        used
    }

    /// Destroys every object for which a case has left a capability, and deletes the capability.
    fn clean(&mut self, used: &[u64; 16]) -> Outcome {
        // What runs or refers to others goes first.
        let order = [
            &[Kind::Domain, Kind::Thread][..],
            &[Kind::Space, Kind::Budget, Kind::Endpoint, Kind::Notification, Kind::Interrupt],
            &[Kind::Account],
            &Kind::ALL,
        ];
        for kinds in order {
            for index in (1..u64::from(root::TABLE_LENGTH)).rev() {
                let new = used[index as usize / 64] & (1 << (index % 64)) == 0;
                let Some((kind, handle)) = inspect(index).filter(|_| new) else { continue };
                if kinds.contains(&kind) {
                    if call(Syscall::Destroy, [handle]).is_err() {
                        // Copies without the right to destroy and kinds without objects.
                        let _ = call(Syscall::CapRevoke, [handle]);
                    }
                    call(Syscall::CapDelete, [handle])?;
                }
            }
        }
        Ok(())
    }

    /// Lets every other thread run until all of them wait.
    pub(crate) fn settle(&self) -> Outcome {
        notify(self.idle_wish, 1)?;
        match wait(self.idle_done, call::now() + 10 * SECOND) {
            Ok(_) => Ok(()),
            Err(_) => {
                // The wish must not be granted to the next one who asks.
                let _ = wait(self.idle_wish, 0);
                Err(Failure::new("a thread runs without end".into()))
            }
        }
    }

    // ---- objects ----

    /// A capability for so many pages of free memory that nobody uses.
    pub(crate) fn memory(&mut self, pages: u64) -> Result<u64, Failure> {
        if self.next_page + pages > self.free_pages {
            return Err(Failure::new("the machine has too little memory for this case".into()));
        }
        let first = self.next_page;
        self.next_page += pages;
        Ok(call(Syscall::MemorySplit, [self.free, first, pages, MemoryRights::all().bits().into()])?)
    }

    /// A notification.
    pub(crate) fn notification(&self) -> Result<u64, Error> {
        call(Syscall::NotificationCreate, [root::ACCOUNT.0])
    }

    /// An endpoint with the usual interface and level.
    pub(crate) fn endpoint(&self) -> Result<u64, Error> {
        self.endpoint_with(INTERFACE, LEVEL)
    }

    /// An endpoint.
    pub(crate) fn endpoint_with(&self, interface: u64, level: u64) -> Result<u64, Error> {
        call(Syscall::EndpointCreate, [root::ACCOUNT.0, interface, level, 0])
    }

    /// An endpoint for fault messages.
    pub(crate) fn fault_endpoint(&self) -> Result<u64, Error> {
        self.endpoint_with(abi::fault::FAULT_INTERFACE, 0)
    }

    /// Makes objects of several kinds, this many in all, that stay for the whole run: what the kernel does must not take
    /// longer beside them.
    pub(crate) fn take_ballast(&self, count: u64) -> Result<(), Error> {
        for index in 0..count {
            match index % 3 {
                0 => self.notification(),
                1 => self.endpoint(),
                _ => self.budget(PRIORITY),
            }?;
        }
        Ok(())
    }

    /// A budget.
    pub(crate) fn budget(&self, priority: u64) -> Result<u64, Error> {
        call(Syscall::BudgetCreate, [root::ACCOUNT.0, priority, SLICE, SLICE])
    }

    /// An account with these limits.
    pub(crate) fn account(&self, limits: &[(Charge, u32)]) -> Result<u64, Error> {
        let mut all = [0u32; Charge::COUNT];
        for (charge, limit) in limits {
            all[*charge as usize] = *limit;
        }
        call(Syscall::AccountCreate, [root::ACCOUNT.0, all.as_ptr() as u64])
    }

    /// A space with some page tables in its pool.
    pub(crate) fn space(&mut self) -> Result<u64, Failure> {
        let memory = self.memory(1 + TABLE_PAGES)?;
        let space = call(Syscall::SpaceCreate, [root::ACCOUNT.0, memory, 0])?;
        call(Syscall::SpaceDonate, [space, memory, 1, TABLE_PAGES])?;
        Ok(space)
    }

    /// A domain at this level that shares the suite's image.
    pub(crate) fn child(&mut self, level: u64) -> Result<Child, Failure> {
        self.child_with(level, 0, 0)
    }

    /// The same with a fault handler.
    pub(crate) fn child_with(&mut self, level: u64, handler: u64, badge: u64) -> Result<Child, Failure> {
        let space = self.space()?;
        for segment in self.segments() {
            let (memory, first) = self.find(segment.extent.start / PAGE_SIZE)?;
            let pages = segment.extent.len.div_ceil(PAGE_SIZE);
            call(Syscall::Map, [space, memory, segment.address, first, pages, segment.access.into()])?;
        }
        let domain = call(Syscall::DomainCreate, [root::ACCOUNT.0, space, level, 64, handler, badge])?;
        Ok(Child { domain, space })
    }

    /// The segments of the suite's image.
    pub(crate) fn segments(&self) -> &'static [RootSegment] {
        self.boot_info().root.segments.as_slice()
    }

    /// What the loader has told about the machine.
    pub(crate) fn boot_info(&self) -> &'static BootInfo {
        // SAFETY: the kernel maps it there, read-only, for ever.
        unsafe { &*core::ptr::with_exposed_provenance(root::BOOT_INFO_ADDRESS as usize) }
    }

    /// The memory capability for a frame of the root's own, and the frame's page in it.
    pub(crate) fn find(&self, frame: u64) -> Result<(u64, u64), Failure> {
        for (index, extent) in self.info.extents.iter().take(self.info.extents_used as usize).enumerate() {
            if extent.frame <= frame && frame < extent.frame + extent.pages {
                return Ok((Handle::new(FIRST_EXTENT + index as u16, 1).0, frame - extent.frame));
            }
        }
        Err(Failure::new(format!("no extent holds frame {frame:#x}")))
    }

    /// The memory capability for a page of the suite's image, and the page in it.
    pub(crate) fn image_page(&self, address: u64) -> Result<(u64, u64), Failure> {
        for segment in self.segments() {
            if (segment.address..segment.address + segment.extent.len).contains(&address) {
                return self.find((segment.extent.start + address - segment.address) / PAGE_SIZE);
            }
        }
        Err(Failure::new(format!("{address:#x} is not in the image")))
    }

    // ---- threads ----

    /// A started thread of the own domain.
    pub(crate) fn thread(&mut self, body: Body, argument: u64) -> Result<u64, Failure> {
        self.thread_at(root::DOMAIN.0, PRIORITY, body, argument)
    }

    /// A started thread of any domain that shares the image, at any priority, with a message buffer.
    pub(crate) fn thread_at(&mut self, domain: u64, priority: u64, body: Body, argument: u64) -> Result<u64, Failure> {
        let budget = self.budget(priority)?;
        self.thread_on(budget, domain, body, argument)
    }

    /// The same on a budget of the case's own.
    pub(crate) fn thread_on(&mut self, budget: u64, domain: u64, body: Body, argument: u64) -> Result<u64, Failure> {
        let (thread, place) = self.stopped_thread_on(budget, domain)?;
        let (memory, page) = self.image_page(actor::buffer(place).0)?;
        call(Syscall::ThreadBuffer, [thread, memory, page, actor::buffer(place).0])?;
        call(Syscall::ThreadStart, [thread, actor::code(body), actor::stack(place), argument])?;
        Ok(thread)
    }

    /// A thread that is stopped and has no buffer, and its place among the actors.
    pub(crate) fn stopped_thread(&mut self, domain: u64, priority: u64) -> Result<(u64, usize), Failure> {
        let budget = self.budget(priority)?;
        self.stopped_thread_on(budget, domain)
    }

    fn stopped_thread_on(&mut self, budget: u64, domain: u64) -> Result<(u64, usize), Failure> {
        let place = self.next_actor;
        if place >= actor::ACTORS {
            return Err(Failure::new("no stack left".into()));
        }
        self.next_actor += 1;
        Ok((call(Syscall::ThreadCreate, [root::ACCOUNT.0, domain, budget])?, place))
    }

    /// The place that the next actor gets.
    pub(crate) fn next_place(&self) -> usize {
        self.next_actor
    }

    /// The place of the actor that was made last.
    pub(crate) fn last_actor(&self) -> usize {
        self.next_actor - 1
    }

    /// Maps an extent from its first page on into the own space for reading and writing, at [`WINDOW`] or above it.
    pub(crate) fn map(&mut self, memory: u64, address: u64, pages: u64) -> Result<u64, Error> {
        call(Syscall::Map, [root::SPACE.0, memory, address, 0, pages, MapAccess::ReadWrite as u64])
    }
}

/// The kind and handle of a slot of the own table, if it is used.
pub(crate) fn inspect(index: u64) -> Option<(Kind, u64)> {
    let found = results(Syscall::CapInspect, [root::DOMAIN.0, index]);
    let kind = Kind::from_number(found.value().ok()? as u8)?;
    Some((kind, found.rdx))
}

/// The machine's statistics.
pub(crate) fn statistics() -> Result<Statistics, Error> {
    let mut statistics = Statistics::default();
    call(Syscall::Statistics, [root::SYSTEM.0, &raw mut statistics as u64])?;
    Ok(statistics)
}
