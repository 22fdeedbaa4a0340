//! A processor among its devices: what becomes of each reason to leave the guest.

use abi::vcpu::{Segment, VcpuState, code, interrupt};
use vmm::board::{Board, Parts};
use vmm::boot::ProcessorState;
use vmm::interrupt::Pending;
use vmm::memory::{FlatMemory, GuestMemory};
use vmm::power::PowerRequest;
use vmm::processor::{Fatal, GuestClock, Outcome, Processor, begin};
use vmm::virtio::{Disk, DiskBusy, EntropySource, Link, LinkBusy, Request};

/// A disk that takes nothing.
struct NoDisk;

impl Disk for NoDisk {
    fn sectors(&self) -> u64 {
        8
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn submit(&mut self, _: &Request<'_>) -> Result<(), DiskBusy> {
        Err(DiskBusy)
    }
}

/// Fours.
struct Dice;

impl EntropySource for Dice {
    fn fill(&mut self, into: &mut [u8]) {
        into.fill(4);
    }
}

/// A cable that leads nowhere.
#[derive(Debug)]
struct LooseCable;

impl Link for LooseCable {
    fn send(&mut self, _: &[u8]) -> Result<(), LinkBusy> {
        Err(LinkBusy)
    }

    fn has_frame(&mut self) -> bool {
        false
    }

    fn receive(&mut self, _: &mut [u8]) -> usize {
        0
    }
}

const CLOCK: GuestClock = GuestClock { hertz: 1_000_000_000, counter: 900, time: 0 };
const CODE: u64 = 0x1000;
const RAX: usize = 0;
const RBX: usize = 1;
const RCX: usize = 2;
const RDX: usize = 3;
const INTERRUPTS: u64 = 1 << 9;
const VALID: u64 = 1 << 31;
const SPURIOUS: u64 = 0xfee0_00f0;
const COMMAND: u64 = 0xfee0_0300;
const TIMER: u64 = 0xfee0_0320;
const END: u64 = 0xfee0_00b0;
/// The part of the interrupts in service that begins with 0x40.
const IN_SERVICE_0X40: u64 = 0xfee0_0120;
/// The register by which a guest says where it ends interrupts by a bit.
const END_BY_BIT: u64 = 0x4b56_4d04;

/// A machine with one disk, its first processor, and memory.
struct Guest {
    board: Board<NoDisk, Dice>,
    processor: Processor,
    state: VcpuState,
    memory: FlatMemory,
}

fn host(leaf: u32, _: u32) -> [u32; 4] {
    [leaf, 0x1234_5678, u32::MAX, u32::MAX]
}

impl Guest {
    /// About to execute these bytes, in flat 32-bit mode without paging.
    fn new(program: &[u8]) -> Self {
        Self::with_network(program, None)
    }

    /// The same with a network card, or without.
    fn with_network(program: &[u8], network: Option<(Box<dyn Link>, [u8; 6])>) -> Self {
        let parts = Parts { processors: 2, disks: vec![NoDisk], entropy: Some(Dice), network, time: 0, now: 0 };
        let mut state = VcpuState::default();
        begin(&ProcessorState::starting_at(0), &mut state);
        state.cr0 = 1;
        state.cs = Segment { selector: 8, attributes: 0xc9b, limit: u32::MAX, base: 0 };
        state.rip = CODE;
        let mut memory = FlatMemory::new(0x8000);
        memory.write(CODE, program).unwrap();
        Self { board: Board::new(parts), processor: Processor::new(0, 2, host, CLOCK), state, memory }
    }

    fn leave(&mut self, exit: u64, info: [u64; 2]) -> Outcome {
        let Self { board, processor, state, memory } = self;
        processor.left((exit, info), state, board, memory, (1000, 0))
    }

    fn prepare(&mut self) {
        let Self { board, processor, state, memory } = self;
        processor.prepare(state, board, memory);
    }

    fn returned(&mut self) {
        let Self { board, processor, memory, .. } = self;
        processor.returned(board, memory);
    }

    fn has_window(&self) -> bool {
        self.state.interrupts & interrupt::WINDOW != 0
    }

    /// Switches the local APIC on, and sends itself an interrupt.
    fn interrupt_itself(&mut self, vector: u64) {
        self.board.write(0, SPURIOUS, 4, 0x1ff, 0);
        self.board.write(0, COMMAND, 4, 0x4_0000 | vector, 0);
    }
}

#[test]
fn cpuid_is_answered_and_stepped_over() {
    let mut guest = Guest::new(&[0x0f, 0xa2]);
    guest.state.general[RAX] = 1;
    assert_eq!(guest.leave(code::CPUID, [0, 0]), Outcome::Run);
    assert_eq!(guest.state.rip, CODE + 2);
    assert_eq!(guest.state.general[RBX] >> 24, 0, "the first processor");
    assert_eq!(guest.state.general[RCX] & 1 << 31, 1 << 31, "of a guest");
}

#[test]
fn a_halt_is_over_before_the_processor_waits() {
    let mut guest = Guest::new(&[0xf4]);
    assert_eq!(guest.leave(code::HLT, [0, 0]), Outcome::Halt);
    assert_eq!(guest.state.rip, CODE + 1);
    assert!(!guest.processor.is_awake(&guest.state, &mut guest.board));
    guest.interrupt_itself(0x40);
    assert!(!guest.processor.is_awake(&guest.state, &mut guest.board), "it takes none");
    guest.state.rflags |= INTERRUPTS;
    assert!(guest.processor.is_awake(&guest.state, &mut guest.board));
}

#[test]
fn an_interrupt_waits_until_the_guest_takes_it() {
    let mut guest = Guest::new(&[0x90]);
    guest.interrupt_itself(0x40);
    guest.prepare();
    assert!(guest.has_window() && guest.state.event == 0);
    guest.state.rflags |= INTERRUPTS;
    guest.prepare();
    assert!(!guest.has_window());
    assert_eq!(guest.state.event, VALID | 0x40);
}

#[test]
fn what_was_being_delivered_comes_before_what_is_due() {
    let mut guest = Guest::new(&[0x90]);
    guest.interrupt_itself(0x40);
    guest.state.rflags |= INTERRUPTS;
    guest.state.event = VALID | 0x30;
    guest.prepare();
    assert_eq!(guest.state.event, VALID | 0x30);
    assert!(guest.has_window(), "the other one follows");
}

#[test]
fn no_interrupt_comes_between_enabling_them_and_halting() {
    let mut guest = Guest::new(&[0xf4, 0x90]);
    guest.interrupt_itself(0x40);
    guest.state.rflags |= INTERRUPTS;
    guest.state.interrupts = interrupt::SHADOW;
    guest.prepare();
    assert_eq!((guest.state.rip, guest.state.event), (CODE + 1, VALID | 0x40), "the halt is over");
}

#[test]
fn ports_are_read_and_written_by_parts_of_the_accumulator() {
    let mut guest = Guest::new(&[]);
    // out 0x3f8, al
    guest.state.general[RAX] = u64::from(b'x');
    let out = |port: u64, size: u64| port << 16 | size << 4;
    assert_eq!(guest.leave(code::IOIO, [out(0x3f8, 1), CODE + 1]), Outcome::Run);
    assert_eq!(guest.state.rip, CODE + 1);
    assert_eq!(guest.board.take_serial_output(), b"x");
    // in al, 0x3fd: what is above stays.
    guest.state.general[RAX] = 0xffff_ff00;
    guest.leave(code::IOIO, [out(0x3fd, 1) | 1, CODE + 2]);
    assert_eq!(guest.state.general[RAX], 0xffff_ff60, "the transmitter is empty");
    // in eax, dx: what is above is cleared; nobody is there.
    guest.state.general[RAX] = u64::MAX;
    guest.leave(code::IOIO, [out(0x1234, 4) | 1, CODE + 3]);
    assert_eq!(guest.state.general[RAX], 0xffff_ffff);
}

#[test]
fn a_string_of_bytes_goes_out_by_one_exit() {
    // rep outsb
    let mut guest = Guest::new(&[0xf3, 0x6e]);
    guest.memory.write(0x2000, b"hello").unwrap();
    guest.state.general[RCX] = 5;
    guest.state.general[RDX] = 0x3f8;
    guest.state.general[4] = 0x2000;
    assert_eq!(guest.leave(code::IOIO, [0x3f8 << 16 | 1 << 4 | 0b1100, CODE + 2]), Outcome::Run);
    assert_eq!(guest.board.take_serial_output(), b"hello");
    assert_eq!((guest.state.rip, guest.state.general[RCX]), (CODE + 2, 0));
}

#[test]
fn a_string_from_where_no_memory_is_reads_as_ones() {
    let mut guest = Guest::new(&[0x6e]);
    guest.state.general[RDX] = 0x3f8;
    guest.state.general[4] = 0x8000_0000;
    assert_eq!(guest.leave(code::IOIO, [0x3f8 << 16 | 1 << 4 | 0b100, CODE + 1]), Outcome::Run);
    assert_eq!((guest.board.take_serial_output(), guest.state.rip), (vec![0xff], CODE + 1));
}

#[test]
fn a_string_of_a_page_that_may_not_be_accessed_is_the_guests_page_fault() {
    const TABLES: u64 = 0x5000;
    // insb
    let mut guest = Guest::new(&[0x6c]);
    let mut put = |at: u64, entry: u32| guest.memory.write(at, &entry.to_le_bytes()).unwrap();
    put(TABLES, 0x6000 | 7);
    put(0x6000 + CODE / 0x1000 * 4, CODE as u32 | 7);
    put(0x6000 + 4 * 8, 0x8000 | 5);
    guest.state.cr0 |= 1 << 31;
    guest.state.cr3 = TABLES;
    guest.state.ss.attributes |= 3 << 5;
    guest.state.general[RDX] = 0x3fd;
    for (place, code) in [(0x8000, 7), (0x9000, 6)] {
        guest.state.general[5] = place;
        guest.state.event = 0;
        assert_eq!(guest.leave(code::IOIO, [0x3fd << 16 | 1 << 4 | 0b101, CODE + 1]), Outcome::Run);
        assert_eq!((guest.state.event & 0xff, guest.state.event >> 32), (14, code));
        assert_eq!((guest.state.cr2, guest.state.rip), (place, CODE));
    }
}

#[test]
fn registers_of_devices_are_reached_by_any_instruction() {
    // mov eax, [0xfee00030]
    let mut guest = Guest::new(&[0xa1, 0x30, 0x00, 0xe0, 0xfe]);
    assert_eq!(guest.leave(code::NESTED_FAULT, [0, 0xfee0_0030]), Outcome::Run);
    assert_eq!(guest.state.general[RAX] & 0xff, 0x14, "the version of the local APIC");
    assert_eq!(guest.state.rip, CODE + 5);
}

#[test]
fn an_instruction_that_is_not_emulated_is_told_with_its_address() {
    // fxsave [0xfee00030]
    let mut guest = Guest::new(&[0x0f, 0xae, 0x05, 0x30, 0x00, 0xe0, 0xfe]);
    let outcome = guest.leave(code::NESTED_FAULT, [0, 0xfee0_0030]);
    let Outcome::Stop(fatal @ Fatal::NotEmulated { .. }) = outcome else { panic!("{outcome:?}") };
    assert!(fatal.to_string().contains("0xfee00030"), "{fatal}");
}

#[test]
fn model_specific_registers_that_are_not_there_are_an_exception() {
    let mut guest = Guest::new(&[0x0f, 0x32]);
    guest.state.general[RCX] = 0x10;
    guest.leave(code::MSR, [0, 0]);
    assert_eq!((guest.state.general[RAX], guest.state.rip), (1000, CODE + 2));
    guest.state.general[RCX] = 0xdead;
    guest.leave(code::MSR, [0, 0]);
    assert_eq!(guest.state.event, VALID | 3 << 8 | 1 << 11 | 13);
    assert_eq!(guest.state.rip, CODE + 2, "it is not stepped over");
}

#[test]
fn a_processor_is_told_the_time_where_it_wants_it() {
    let mut guest = Guest::new(&[0x0f, 0x30]);
    guest.state.general[RCX] = 0x4b56_4d01;
    guest.state.general[RAX] = 0x3001;
    guest.leave(code::MSR, [1, 0]);
    assert_eq!((guest.memory.read_u64(0x3008), guest.state.rip), (Ok(900), CODE + 2));
    guest.state.general[RAX] = 0x8000_0001;
    guest.leave(code::MSR, [1, 0]);
    assert_eq!(guest.state.event & 0xff, 13, "it has no memory there");
}

#[test]
fn a_deadline_by_the_counter_is_kept_in_time() {
    let mut guest = Guest::new(&[0x0f, 0x30]);
    guest.board.write(0, SPURIOUS, 4, 0x1ff, 0);
    guest.board.write(0, TIMER, 4, 2 << 17 | 0x50, 0);
    guest.state.general[RCX] = 0x6e0;
    // The guest's counter says 1500 now, and counts nanoseconds.
    guest.state.tsc_offset = 500;
    guest.state.general[RAX] = 1700;
    guest.leave(code::MSR, [1, 0]);
    assert_eq!((guest.board.next_deadline(), guest.state.rip), (Some(200), CODE + 2));
    guest.state.general[RAX] = 0;
    guest.leave(code::MSR, [0, 0]);
    assert_eq!(guest.state.general[RAX], 1700);
    // One that has passed is due at once.
    guest.state.general[RAX] = 1400;
    guest.leave(code::MSR, [1, 0]);
    guest.board.advance(0);
    assert_eq!(guest.board.fabric().accept(0), Some(Pending::Interrupt(0x50)));
}

/// One that works on interrupt 0x40, and may end it by the word at 0x3000.
fn guest_that_ends_by_a_bit() -> Guest {
    let mut guest = Guest::new(&[0x0f, 0x30]);
    guest.state.general[RCX] = END_BY_BIT;
    guest.state.general[RAX] = 0x3001;
    guest.leave(code::MSR, [1, 0]);
    guest.interrupt_itself(0x40);
    guest.state.rflags |= INTERRUPTS;
    guest.prepare();
    assert_eq!((guest.state.event, guest.memory.read_u32(0x3000)), (VALID | 0x40, Ok(1)));
    guest.state.event = 0;
    guest
}

#[test]
fn an_interrupt_ends_when_the_guest_has_cleared_a_bit() {
    let mut guest = guest_that_ends_by_a_bit();
    guest.memory.write(0x3000, &[0]).unwrap();
    guest.returned();
    assert_eq!(guest.board.read(0, IN_SERVICE_0X40, 4, 0), 0);
    guest.prepare();
    assert_eq!(guest.memory.read_u32(0x3000), Ok(0), "it works on none");
}

#[test]
fn a_guest_that_does_not_clear_the_bit_tells_its_local_apic() {
    let mut guest = guest_that_ends_by_a_bit();
    guest.returned();
    assert_eq!((guest.memory.read_u32(0x3000), guest.board.read(0, IN_SERVICE_0X40, 4, 0)), (Ok(0), 1));
    guest.prepare();
    assert_eq!(guest.memory.read_u32(0x3000), Ok(1), "it is offered again");
    guest.returned();
    // What waits is to come as soon as this one ends.
    guest.interrupt_itself(0x41);
    guest.prepare();
    assert_eq!(guest.memory.read_u32(0x3000), Ok(0));
    guest.board.write(0, END, 4, 0, 0);
    guest.prepare();
    assert_eq!(guest.state.event, VALID | 0x41);
}

#[test]
fn ends_by_a_bit_are_agreed_on_where_memory_is_and_until_the_next_beginning() {
    let mut guest = guest_that_ends_by_a_bit();
    for refused in [0x3003, 0x8000_0001] {
        guest.state.general[RAX] = refused;
        guest.leave(code::MSR, [1, 0]);
        assert_eq!(guest.state.event & 0xff, 13, "{refused:#x}");
        guest.state.event = 0;
    }
    guest.returned();
    guest.processor.initialise();
    guest.prepare();
    assert_eq!(guest.memory.read_u32(0x3000), Ok(0));
}

#[test]
fn the_interval_timer_interrupts_through_the_old_controllers() {
    let mut guest = Guest::new(&[]);
    // The first controller: vectors from 0x20 on, only line 0 open. The timer: every 1,193 counts.
    for (port, value) in
        [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xfe), (0x43, 0x34), (0x40, 0xa9), (0x40, 4)]
    {
        guest.board.output(port, 1, value, 0);
    }
    assert_eq!(guest.board.fabric().accept(0), None);
    for round in 1..4 {
        guest.board.advance(round * 1_000_000);
        assert_eq!(guest.board.fabric().accept(0), Some(Pending::Interrupt(0x20)), "round {round}");
        guest.board.output(0x20, 1, 0x20, 0);
    }
}

#[test]
fn a_priority_is_the_same_in_both_of_its_registers() {
    // mov [0xfee00080], eax
    let mut guest = Guest::new(&[0xa3, 0x80, 0x00, 0xe0, 0xfe]);
    guest.state.general[RAX] = 0x35;
    guest.leave(code::NESTED_FAULT, [1, 0xfee0_0080]);
    assert_eq!(guest.state.interrupts & 0xf, 3);
    assert_eq!(guest.board.read(0, 0xfee0_0080, 4, 0), 0x35);
    guest.state.interrupts = 8;
    guest.leave(code::HLT, [0, 0]);
    assert_eq!(guest.board.read(0, 0xfee0_0080, 4, 0), 0x80);
}

#[test]
fn the_processor_may_tell_where_the_next_instruction_is() {
    let mut guest = Guest::new(&[0xf3, 0x0f, 0x09]);
    guest.state.exit.next_rip = CODE + 3;
    guest.leave(code::WBINVD, [0, 0]);
    assert_eq!(guest.state.rip, CODE + 3);
}

#[test]
fn debug_registers_keep_what_is_written() {
    // mov dr1, ecx; mov ebx, dr1
    let mut guest = Guest::new(&[0x0f, 0x23, 0xc9, 0x0f, 0x21, 0xcb]);
    guest.state.general[RCX] = 0x55;
    guest.leave(code::WRITE_DR + 1, [0, 0]);
    guest.leave(code::READ_DR + 1, [0, 0]);
    assert_eq!((guest.state.general[RBX], guest.state.rip), (0x55, CODE + 6));
}

#[test]
fn what_no_guest_has_is_undefined_to_it() {
    for exit in [code::VMRUN, code::VMMCALL, code::XSETBV, code::MONITOR, code::RSM] {
        let mut guest = Guest::new(&[]);
        assert_eq!(guest.leave(exit, [0, 0]), Outcome::Run);
        assert_eq!(guest.state.event, VALID | 3 << 8 | 6, "{exit:#x}");
    }
}

#[test]
fn a_triple_fault_stops_it_and_an_unknown_exit_does_too() {
    let mut guest = Guest::new(&[]);
    assert_eq!(guest.leave(code::SHUTDOWN, [0, 0]), Outcome::Stop(Fatal::TripleFault { instruction: CODE }));
    assert_eq!(guest.leave(0x3ff, [0, 0]), Outcome::Stop(Fatal::Unknown { code: 0x3ff, instruction: CODE }));
}

#[test]
fn the_tables_word_for_off_switches_it_off() {
    let mut guest = Guest::new(&[]);
    guest.board.output(0x604, 2, 1 << 13 | 5 << 10, 0);
    assert_eq!(guest.board.take_power_request(), Some(PowerRequest::Off));
    guest.board.output(0x64, 1, 0xfe, 0);
    assert_eq!(guest.board.take_power_request(), Some(PowerRequest::Reset));
}

#[test]
fn every_function_is_found_in_its_slot() {
    let identity = |guest: &mut Guest, slot: u32| {
        guest.board.output(0xcf8, 4, 1 << 31 | slot << 11, 0);
        guest.board.input(0xcfc, 4, 0)
    };
    let mut guest = Guest::new(&[]);
    let found = [0, 1, 2, 3].map(|slot| identity(&mut guest, slot));
    assert_eq!(found, [0x0008_1b36, 0x1043_1af4, 0x1044_1af4, 0x1042_1af4]);
    assert_eq!(identity(&mut guest, 4), u32::MAX);
    let mut guest = Guest::with_network(&[], Some((Box::new(LooseCable), [2, 0, 0, 0, 0, 1])));
    assert_eq!((identity(&mut guest, 4), identity(&mut guest, 5)), (0x1041_1af4, u32::MAX), "it is the last");
}
