//! What a device can be made to do by a driver that means harm: each attack is shown to succeed in a machine without an IOMMU,
//! where that is safe to show, and to be refused and reported in one with it.
//!
//! The suite plays the driver, with all authority that there is: what keeps the device from what it is told to do is the
//! IOMMU alone. Each attack writes a line `attack NAME: reached` or `attack NAME: blocked, reported Nx`,
//! without the latter where the IOMMU reports nothing.

mod disk;
mod edu;
mod function;
mod interrupts;
mod lab;
mod load;
mod memory;
mod registers;
mod virtio;

use crate::bench::Bench;
use crate::cases::Case;
use crate::console::print;
use crate::outcome::{Failure, Outcome, holds};
use disk::Disk;
use edu::{Edu, Fleet};
use lab::{Device, Lab};

/// Lists attacks by a device as cases under their own names.
macro_rules! attacks {
    ($($name:ident: $device:ident by $module:ident),* $(,)?) => {
        /// The attacks.
        pub(crate) const CASES: &[Case] = &[$(Case { name: stringify!($name), run: |bench| {
            attack::<$device>(bench, stringify!($name), $module::$name)
        } }),*];
    };
}

attacks![
    write_memory_that_nobody_has_shared: Edu by memory,
    write_before_any_driver_has_the_device: Edu by memory,
    write_beyond_every_address: Edu by memory,
    read_the_kernels_text: Edu by memory,
    overwrite_the_kernels_text: Edu by memory,
    read_a_page_table: Edu by memory,
    overwrite_a_page_table: Edu by memory,
    overwrite_memory_of_another_domain: Edu by memory,
    write_its_own_memory_after_it_was_unmapped: Edu by memory,
    write_a_large_page_after_it_was_unmapped: Edu by memory,
    write_memory_that_was_revoked_and_given_to_another: Edu by memory,
    write_memory_that_may_only_be_read: Edu by memory,
    write_after_its_driver_is_gone: Edu by memory,
    write_at_the_moment_when_memory_changes_hands: Fleet by load,
    overwrite_the_registers_of_the_iommu: Edu by memory,
    read_another_domain_through_the_disk: Disk by virtio,
    overwrite_another_domain_through_the_disk: Disk by virtio,
    put_the_disks_answers_into_another_domain: Disk by virtio,
    take_the_disks_orders_from_another_domain: Disk by virtio,
    overwrite_the_kernel_and_the_tables_of_the_iommu: Disk by virtio,
    raise_an_interrupt_of_another_device: Edu by interrupts,
    write_an_interrupt_that_nobody_may_raise: Edu by interrupts,
    write_an_interrupt_of_another_device: Edu by interrupts,
    write_every_interrupt_in_the_old_format: Edu by interrupts,
];

/// What became of an attack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    No,
    /// An interrupt that has not come. Emulators drop it without a report (QEMU before 9.0).
    NoInterrupt,
    /// In a machine without an IOMMU this would break the machine, or there is nothing to attack.
    NotTried,
    /// It has reached past an IOMMU that refuses it in hardware, because the emulated one does not look: the reason.
    Unchecked(&'static str),
}

impl From<bool> for Reached {
    fn from(reached: bool) -> Self {
        if reached { Reached::Yes } else { Reached::No }
    }
}

/// Makes an attack in a lab of its own.
fn attack<D: Device>(
    bench: &mut Bench,
    name: &str,
    attack: fn(&mut Bench, &mut Lab<D>) -> Result<Reached, Failure>,
) -> Outcome {
    let mut lab = Lab::open(bench)?;
    let outcome = attack(bench, &mut lab).and_then(|reached| judge(&lab, name, reached));
    lab.close()?;
    outcome
}

fn judge<D: Device>(lab: &Lab<D>, name: &str, reached: Reached) -> Outcome {
    let told = lab.strays();
    match reached {
        Reached::Yes => print(format_args!("attack {name}: reached\n")),
        Reached::No if lab.reports || !lab.has_iommu => {
            print(format_args!("attack {name}: blocked, reported {told}x\n"))
        }
        Reached::No | Reached::NoInterrupt => print(format_args!("attack {name}: blocked\n")),
        Reached::NotTried => print(format_args!("attack {name}: not tried\n")),
        Reached::Unchecked(why) => print(format_args!("attack {name}: reached; {why}\n")),
    }
    if !lab.has_iommu {
        return holds(matches!(reached, Reached::Yes | Reached::NotTried), "without an IOMMU the attack succeeds");
    }
    match reached {
        Reached::No if !lab.reports => holds(told == 0, "what does not report reports nothing"),
        Reached::No => holds(told > 0, "it is told that the device was refused something"),
        Reached::NoInterrupt | Reached::Unchecked(_) => Ok(()),
        Reached::Yes | Reached::NotTried => holds(false, "the attack is blocked"),
    }
}
