//! The first domain: the only objects that no system call makes.

use crate::capability::{BLOCK, Capability, Extent};
use crate::command::DomainOrder;
use crate::decode::ports_badge;
use crate::effect::{Effect, Resume};
use crate::frame::{Frame, FrameState};
use crate::identity::{AccountId, BudgetId, CapId, CpuId, DomainId, InterruptId, SpaceId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::memory::MapOrder;
use crate::table::{Slots, Vacant, count, short};
use crate::world::World;
use abi::boot::TABLE_SHARES;
use abi::rights::{
    AccountRights, BudgetRights, DeviceControlRights, DomainRights, InterruptControlRights, Kind, MemoryRights,
    PortsRights, SpaceRights, SystemRights, ThreadRights,
};
use abi::syscall::{AccountLimits, Charge, MapAccess};
use abi::{Handle, PAGE_SIZE, root};

/// Nanoseconds of a turn of the root's first thread.
const TURN: u64 = 10_000_000;

/// What the shell gives the root domain to start with.
#[derive(Clone, Copy, Debug)]
pub struct RootPlan {
    /// First of a run of free RAM frames for the root's page tables; the first one becomes the root table.
    pub tables: Frame,
    /// How many frames that run has, at most 255.
    pub table_count: u8,
    /// Length of the root's capability table; the machine uses [`root::TABLE_LENGTH`].
    pub table_length: u16,
}

/// The root's objects.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    /// Its domain.
    pub domain: DomainId,
    /// Its space.
    pub space: SpaceId,
    /// Its first thread, stopped.
    pub thread: ThreadId,
}

impl<T: Tables> Kernel<T> {
    /// Leaves out the last slots of all tables but those of processors and interrupts: of [`TABLE_SHARES`] shares of each, the
    /// machine has memory for so many. Before anything exists.
    pub fn shorten_tables(&mut self, shares: usize) {
        self.accounts.shorten(shares);
        self.spaces.shorten(shares);
        self.domains.shorten(shares);
        self.threads.shorten(shares);
        self.budgets.shorten(shares);
        self.endpoints.shorten(shares);
        self.notifications.shorten(shares);
        self.mappings.shorten(shares);
        let blocks = T::Caps::LENGTH / BLOCK;
        self.blocks.shorten(blocks / TABLE_SHARES * shares.min(TABLE_SHARES), blocks);
    }

    /// Declares one frame of RAM, before anything else exists.
    pub fn declare_ram(&mut self, frame: Frame, state: FrameState) {
        self.frames.declare(frame, state);
    }

    /// Makes the root domain with the capabilities of [`abi::root`], memory apart. Returns its objects and the effect
    /// that prepares its page tables. `None` if the plan does not fit this machine's tables.
    pub fn create_root(&mut self, plan: RootPlan) -> Option<(Root, Effect)> {
        self.start_cpu(CpuId::BOOT);
        let limits = self.whole_machine();
        let (account, account_generation) =
            self.accounts.insert(crate::account::Account { limits, ..crate::account::Account::EMPTY });
        let account = AccountId::from_index(account)?;
        let (space, space_generation) = self.create_space(account, plan.tables);
        let space = SpaceId::from_index(space)?;
        for index in 1..u32::from(plan.table_count) {
            self.donate_tables(space, plan.tables.offset(index), 1);
        }
        if plan.table_length as usize > T::Caps::LENGTH {
            return None;
        }
        let (domain, domain_generation) = self.create_domain(DomainOrder {
            account,
            space,
            level: root::LEVEL,
            // Nobody has a table yet.
            table_base: 0,
            table_length: plan.table_length,
            fault_handler: None,
            fault_badge: 0,
        });
        let domain = DomainId::from_index(domain)?;
        let (budget, budget_generation) = self.create_budget(account, root::PRIORITY, TURN, TURN, CpuId::BOOT);
        let budget = BudgetId::from_index(budget)?;
        let (thread, thread_generation) = self.create_thread(account, domain, budget);
        let thread = ThreadId::from_index(thread)?;
        let objects = [
            (Kind::Domain, DomainRights::all().bits(), domain.index(), domain_generation, 0),
            (Kind::Space, SpaceRights::all().bits(), space.index(), space_generation, 0),
            (Kind::Thread, ThreadRights::all().bits(), thread.index(), thread_generation, 0),
            (Kind::Account, AccountRights::all().bits(), account.index(), account_generation, 0),
            (Kind::InterruptControl, InterruptControlRights::all().bits(), 0, 0, 0),
            (Kind::Ports, PortsRights::all().bits(), 0, 0, ports_badge(0, 0x1_0000)),
            (Kind::System, SystemRights::all().bits(), 0, 0, 0),
            (Kind::Budget, BudgetRights::all().bits(), budget.index(), budget_generation, 0),
            (Kind::DeviceControl, DeviceControlRights::all().bits(), 0, 0, 0),
        ];
        for (kind, rights, object, generation, badge) in objects {
            let object = short(object);
            self.insert_cap(domain, Capability { kind, rights, object, generation, badge }, None);
        }
        let effect = Effect::MakeRoot(plan.tables);
        Some((Root { domain, space, thread }, effect))
    }

    /// Gives the root a capability for a run of frames. [`Handle::NONE`] if its table is full.
    pub fn root_extent(&mut self, root: Root, frame: Frame, pages: u32) -> Handle {
        if !self.has_free_slot(root.domain) {
            return Handle::NONE;
        }
        let badge = Extent { frame: frame.0, pages }.to_badge();
        let rights = MemoryRights::all().bits();
        let capability = Capability { kind: Kind::Memory, rights, object: 0, generation: 0, badge };
        self.insert_cap(root.domain, capability, None)
    }

    /// Maps a part of one of the root's extents into its space; the range lies within one 2 MiB window. `None` if it
    /// cannot be mapped there.
    #[expect(clippy::too_many_arguments, reason = "the arguments of the system call `Map`, made by the kernel itself")]
    pub fn root_map(
        &mut self,
        world: &impl World,
        root: Root,
        extent: Handle,
        address: u64,
        first: u64,
        pages: u64,
        access: MapAccess,
    ) -> Option<Effect> {
        let (memory, capability) = self.lookup(root.domain, extent).ok()?;
        let part = Extent::from_badge(capability.badge).part(first, pages)?;
        let frame = Frame(part.frame);
        self.check_frames(frame, pages).ok()?;
        let entry = *self.spaces.at(root.space.index());
        let probe = world.probe(self.tree_of(root.space), address, frame, pages);
        let window = 512 * PAGE_SIZE;
        let inside = pages <= 512 && address / window == (address + pages * PAGE_SIZE - 1) / window;
        if probe.occupied || u32::from(probe.missing_tables) > entry.pool_count || !inside {
            return None;
        }
        let order = MapOrder {
            space: root.space,
            memory,
            address,
            frame,
            pages: u16::try_from(pages).ok()?,
            access,
            missing_tables: probe.missing_tables,
        };
        let (_, tables) = self.map(&order);
        Some(self.map_effect(&order, tables))
    }

    /// Gives the root's first thread its message buffer: one page of an extent.
    pub fn root_buffer(&mut self, root: Root, extent: Handle, page: u64, address: u64) -> Option<()> {
        let (memory, capability) = self.lookup(root.domain, extent).ok()?;
        let part = Extent::from_badge(capability.badge).part(page, 1)?;
        self.give_buffer(root.thread, memory, Frame(part.frame), address);
        Some(())
    }

    /// Lets the root's first thread run.
    pub fn start_root(&mut self, root: Root, instruction: u64, stack: u64, argument: u64) -> Effect {
        self.wake(root.thread, Resume::Continue);
        Effect::StartThread { thread: root.thread, instruction, stack, argument }
    }

    /// Limits that let the root use every slot of every table. Of mappings, one a thread is set aside for its message
    /// buffer, which is charged to nobody; of interrupts there are no more than vectors.
    #[expect(clippy::indexing_slicing, reason = "a charge is a number below the array's length")]
    fn whole_machine(&self) -> AccountLimits {
        let mut limits = [0; Charge::COUNT];
        limits[Charge::Accounts as usize] = count(self.accounts.length() - 1);
        limits[Charge::CapSlots as usize] = count(T::Caps::LENGTH - self.blocks.missing as usize * BLOCK);
        limits[Charge::Spaces as usize] = count(self.spaces.length() - 1);
        limits[Charge::Domains as usize] = count(self.domains.length() - 1);
        limits[Charge::Threads as usize] = count(self.threads.length() - 1);
        limits[Charge::Budgets as usize] = count(self.budgets.length() - 1);
        limits[Charge::Endpoints as usize] = count(self.endpoints.length() - 1);
        limits[Charge::Notifications as usize] = count(self.notifications.length() - 1);
        limits[Charge::Mappings as usize] = count(self.mappings.length() - self.threads.length());
        limits[Charge::Interrupts as usize] = count((self.interrupts.length() - 1).min(InterruptId::VECTORS));
        limits
    }
}

// The first slot of the arena belongs to nobody: an index of 0 means "none".
static_assertions::const_assert!(CapId::from_index(0).is_none());
