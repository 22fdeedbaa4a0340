//! Instructions that are the kernel's, tried in user mode.

use super::cases;
use super::offender::{Offender, bodies, is_refused_gate, vector};
use crate::actor;
use crate::bench::Bench;
use crate::call::{call, sleep};
use crate::outcome::{Outcome, holds, refused, same};
use abi::syscall::Syscall;
use abi::{Error, root};

cases![
    turning_interrupts_off_or_halting_is_a_fault,
    ports_are_out_of_reach_without_the_kernel,
    control_registers_are_out_of_reach,
    debug_registers_are_out_of_reach,
    model_specific_registers_are_out_of_reach,
    descriptor_tables_are_neither_loaded_nor_told,
    translations_and_caches_are_the_kernels,
    going_back_to_user_mode_is_the_kernels,
    bases_of_segments_are_not_written_by_instructions,
    switching_extensions_on_is_the_kernels,
    virtual_machines_are_out_of_reach,
    other_ways_into_a_kernel_lead_nowhere,
    memory_protection_cannot_be_suspended,
    performance_counters_are_out_of_reach,
    the_time_stamp_counter_may_be_read,
    what_the_root_domain_may_ask_for_it_may_not_do_itself,
];

bodies! {
    cli: "cli";
    sti: "sti";
    hlt: "hlt";
    monitor: "xor ecx, ecx", "xor edx, edx", "mov rax, rsp", "monitor";
    mwait: "xor ecx, ecx", "xor eax, eax", "mwait";

    in_byte: "in al, 0x60";
    in_word: "mov dx, 0xcf8", "in ax, dx";
    in_long: "mov dx, 0xcfc", "in eax, dx";
    out_byte: "mov al, 0xfe", "out 0x64, al";
    out_word: "mov dx, 0x604", "mov eax, 0x2000", "out dx, ax";
    out_long: "mov dx, 0xcf8", "out dx, eax";
    in_string: "mov edx, 0x1f0", "lea rdi, [rsp - 64]", "cld", "insb";
    out_string: "mov edx, 0x3f8", "mov rsi, rsp", "mov ecx, 5", "cld", "rep outsb";

    read_cr0: "mov rax, cr0";
    read_cr2: "mov rax, cr2";
    read_cr3: "mov rax, cr3";
    read_cr4: "mov rax, cr4";
    read_cr8: "mov rax, cr8";
    write_cr0: "mov cr0, rax";
    write_cr2: "mov cr2, rax";
    write_cr3: "mov cr3, rax";
    write_cr4: "mov cr4, rax";
    write_cr8: "mov cr8, rax";
    clts: "clts";
    lmsw: "lmsw ax";
    smsw: "smsw eax";

    read_dr0: "mov rax, dr0";
    read_dr3: "mov rax, dr3";
    read_dr4: ".byte 0x0f, 0x21, 0xe0";
    read_dr6: "mov rax, dr6";
    read_dr7: "mov rax, dr7";
    write_dr0: "mov dr0, rax";
    write_dr1: "mov dr1, rax";
    write_dr2: "mov dr2, rax";
    write_dr3: "mov dr3, rax";
    write_dr6: "mov dr6, rax";
    write_dr7: "mov eax, 0x3ff", "mov dr7, rax";

    read_apic_base: "mov ecx, 0x1b", "rdmsr";
    read_efer: "mov ecx, 0xc0000080", "rdmsr";
    read_entry: "mov ecx, 0xc0000082", "rdmsr";
    read_unknown: "mov ecx, 0x12345", "rdmsr";
    write_efer: "mov ecx, 0xc0000080", "wrmsr";
    write_entry: "mov ecx, 0xc0000082", "wrmsr";
    write_fs_base: "mov ecx, 0xc0000100", "wrmsr";
    write_gs_base: "mov ecx, 0xc0000101", "wrmsr";
    write_kernel_gs_base: "mov ecx, 0xc0000102", "wrmsr";
    write_sysenter: "mov ecx, 0x176", "wrmsr";
    write_time: "mov ecx, 0x10", "wrmsr";

    lgdt: "lgdt [rsp]";
    lidt: "lidt [rsp]";
    lldt: "lldt ax";
    ltr: "mov eax, 0x28", "ltr ax";
    sgdt: "sgdt [rsp - 16]";
    sidt: "sidt [rsp - 16]";
    sldt: "sldt eax";
    str: "str eax";

    invlpg: "invlpg [rsp]";
    invd: "invd";
    wbinvd: "wbinvd";

    swapgs: "swapgs";
    sysret: "mov rcx, 0x200000", "mov r11d, 0x202", "sysretq";
    sysexit: "sysexit";
    resume: "rsm";

    read_fs_base: "rdfsbase rax";
    read_gs_base: "rdgsbase rax";
    write_fs: "wrfsbase rax";
    write_gs: "mov rax, 0xffff800000000000", "wrgsbase rax";

    write_extended_control: "xor ecx, ecx", "mov eax, 3", "xor edx, edx", "xsetbv";
    read_keys: "xor ecx, ecx", "rdpkru";
    write_keys: "xor ecx, ecx", "xor edx, edx", "xor eax, eax", "wrpkru";

    vmrun: ".byte 0x0f, 0x01, 0xd8";
    vmmcall: ".byte 0x0f, 0x01, 0xd9";
    vmload: ".byte 0x0f, 0x01, 0xda";
    vmsave: ".byte 0x0f, 0x01, 0xdb";
    stgi: ".byte 0x0f, 0x01, 0xdc";
    clgi: ".byte 0x0f, 0x01, 0xdd";
    skinit: ".byte 0x0f, 0x01, 0xde";
    invlpga: ".byte 0x0f, 0x01, 0xdf";
    vmcall: ".byte 0x0f, 0x01, 0xc1";
    vmlaunch: ".byte 0x0f, 0x01, 0xc2";
    vmxoff: ".byte 0x0f, 0x01, 0xc4";

    sysenter: "mov ecx, 0x200000", "sysenter";
    old_syscall: "mov eax, 96", "int 0x80";
    getsec: "xor eax, eax", "getsec";

    stac: "stac";
    clac: "clac";

    rdpmc: "xor ecx, ecx", "rdpmc";

    times: "rdtsc", "mov rsi, rax", "rdtscp", "cpuid";
}

const GP: &[u64] = &[vector::PROTECTION];
const UD: &[u64] = &[vector::INVALID_OPCODE];
/// Where processors differ, or what comes first depends on what they have.
const EITHER: &[u64] = &[vector::PROTECTION, vector::INVALID_OPCODE];

fn turning_interrupts_off_or_halting_is_a_fault(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    offender.all_end_in(GP, &[("cli", cli), ("sti", sti), ("hlt", hlt)])?;
    offender.all_end_in(EITHER, &[("monitor", monitor), ("mwait", mwait)])?;
    // The timer still comes.
    sleep(1_000_000);
    Ok(())
}

fn ports_are_out_of_reach_without_the_kernel(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.all_end_in(
        GP,
        &[
            ("in, 8 bits", in_byte),
            ("in, 16 bits", in_word),
            ("in, 32 bits", in_long),
            ("out, 8 bits", out_byte),
            ("out, 16 bits", out_word),
            ("out, 32 bits", out_long),
            ("ins", in_string),
            ("outs", out_string),
        ],
    )
}

fn control_registers_are_out_of_reach(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.all_end_in(
        GP,
        &[
            ("reading CR0", read_cr0),
            ("reading CR2", read_cr2),
            ("reading CR3", read_cr3),
            ("reading CR4", read_cr4),
            ("reading CR8", read_cr8),
            ("writing CR0", write_cr0),
            ("writing CR2", write_cr2),
            ("writing CR3", write_cr3),
            ("writing CR4", write_cr4),
            ("writing CR8", write_cr8),
            ("clts", clts),
            ("lmsw", lmsw),
        ],
    )
}

fn debug_registers_are_out_of_reach(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    offender.all_end_in(
        GP,
        &[
            ("reading DR0", read_dr0),
            ("reading DR3", read_dr3),
            ("reading DR6", read_dr6),
            ("reading DR7", read_dr7),
            ("writing DR0", write_dr0),
            ("writing DR1", write_dr1),
            ("writing DR2", write_dr2),
            ("writing DR3", write_dr3),
            ("writing DR6", write_dr6),
            ("writing DR7", write_dr7),
        ],
    )?;
    offender.all_end_in(EITHER, &[("reading DR4", read_dr4)])
}

fn model_specific_registers_are_out_of_reach(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.all_end_in(
        GP,
        &[
            ("reading the APIC's base", read_apic_base),
            ("reading EFER", read_efer),
            ("reading the entry of syscall", read_entry),
            ("reading one that does not exist", read_unknown),
            ("writing EFER", write_efer),
            ("writing the entry of syscall", write_entry),
            ("writing the base of FS", write_fs_base),
            ("writing the base of GS", write_gs_base),
            ("writing the kernel's base of GS", write_kernel_gs_base),
            ("writing the entry of sysenter", write_sysenter),
            ("writing the time-stamp counter", write_time),
        ],
    )
}

fn descriptor_tables_are_neither_loaded_nor_told(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    offender.all_end_in(GP, &[("lgdt", lgdt), ("lidt", lidt), ("lldt", lldt), ("ltr", ltr)])?;
    // Processors before 2017 tell.
    let has_prevention = core::arch::x86_64::__cpuid_count(7, 0).ecx & (1 << 2) != 0;
    if !has_prevention {
        return Ok(());
    }
    let told: [(&str, actor::Body); 5] = [("sgdt", sgdt), ("sidt", sidt), ("sldt", sldt), ("str", str), ("smsw", smsw)];
    offender.all_end_in(GP, &told)
}

fn translations_and_caches_are_the_kernels(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.all_end_in(GP, &[("invlpg", invlpg), ("invd", invd), ("wbinvd", wbinvd)])
}

fn going_back_to_user_mode_is_the_kernels(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    offender.all_end_in(GP, &[("swapgs", swapgs), ("sysret", sysret)])?;
    offender.all_end_in(EITHER, &[("sysexit", sysexit), ("rsm", resume)])
}

fn bases_of_segments_are_not_written_by_instructions(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.all_end_in(
        UD,
        &[("rdfsbase", read_fs_base), ("rdgsbase", read_gs_base), ("wrfsbase", write_fs), ("wrgsbase", write_gs)],
    )
}

fn switching_extensions_on_is_the_kernels(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    offender.all_end_in(EITHER, &[("xsetbv", write_extended_control)])?;
    offender.all_end_in(UD, &[("rdpkru", read_keys), ("wrpkru", write_keys)])
}

fn virtual_machines_are_out_of_reach(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.all_end_in(
        EITHER,
        &[
            ("vmrun", vmrun),
            ("vmmcall", vmmcall),
            ("vmload", vmload),
            ("vmsave", vmsave),
            ("stgi", stgi),
            ("clgi", clgi),
            ("skinit", skinit),
            ("invlpga", invlpga),
            ("vmcall", vmcall),
            ("vmlaunch", vmlaunch),
            ("vmxoff", vmxoff),
        ],
    )
}

fn other_ways_into_a_kernel_lead_nowhere(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    offender.all_end_in(EITHER, &[("sysenter", sysenter), ("getsec", getsec)])?;
    let fault = offender.fault(old_syscall, 0)?;
    holds(is_refused_gate(&fault, 0x80), "its gate is the kernel's")
}

fn memory_protection_cannot_be_suspended(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.all_end_in(EITHER, &[("stac", stac), ("clac", clac)])
}

fn performance_counters_are_out_of_reach(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.all_end_in(GP, &[("rdpmc", rdpmc)])
}

fn the_time_stamp_counter_may_be_read(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.passes(times, 0)
}

fn what_the_root_domain_may_ask_for_it_may_not_do_itself(bench: &mut Bench) -> Outcome {
    // A thread of the root domain, which holds every port and interrupt, is a user like any other.
    bench.thread(in_byte, 0)?;
    bench.thread(cli, 0)?;
    bench.thread(read_cr3, 0)?;
    bench.settle()?;
    same(actor::read(super::victim::DONE), 0)?;
    holds(call(Syscall::PortIn, [root::PORTS.0, 0x61, 1]).is_ok(), "it may ask")?;
    refused(call(Syscall::PortIn, [root::PORTS.0, 0x1_0000, 1]), Error::BadArgument)
}
