//! How it is measured.

use std::cell::OnceCell;
use std::path::Path;

use super::linux::{Costs, Works};
use super::{BenchError, timed};
use crate::machine::{Accelerator, Drive, Iommu, Kvm, Machine};
use crate::progress::Step;

/// The processor's model where systems are compared. It has what `max` has but for `erms`, for which Linux copies and clears memory
/// byte by byte in one instruction: QEMU counts each byte as an instruction, and takes its time over each. Without it Linux does
/// better, and so it is compared at its best.
const MODEL: &str = "max,-erms";

/// How it is measured.
#[derive(Debug)]
pub struct Plan {
    /// Of [`Group::Block`](super::Group::Block): the machines.
    pub(super) iommu: Vec<Iommu>,
    /// Who executes the machines' instructions.
    pub(super) accelerator: Accelerator,
    /// Whether only this system is measured, and none that it is compared with.
    pub(super) alone: bool,
    /// Linux and its program, once they were asked for.
    works: OnceCell<Works>,
    /// What was counted of it.
    counted: OnceCell<Costs>,
    /// What this system and Linux took by the clock, one after the other.
    turns: OnceCell<Vec<(Costs, Costs)>>,
}

/// The works of Linux that those of the suite `costs` are compared with.
const WORKS_OF_LINUX: &str = "works=refused,getppid,pipe,eventfd,mmap,vfork";

/// What asks for as many rounds as take so long that a busy host is no different at their end than at their beginning.
const LONG: &str = "rounds=4096";

/// How often works are timed, in turn with Linux.
const TURNS: u32 = 7;

/// Has somebody execute a machine's instructions, and the machine a processor that goes with that.
pub(super) fn execute_by(accelerator: Accelerator, machine: &mut Machine) {
    machine.accelerator = accelerator;
    if accelerator == Accelerator::Kvm {
        machine.cpu_model = "host".to_owned();
    }
}

/// The same where works are compared by the clock.
pub(super) fn time(accelerator: Accelerator, machine: &mut Machine) {
    machine.cpu_model = MODEL.to_owned();
    execute_by(accelerator, machine);
}

/// An accelerator, for people.
pub(super) fn name(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Tcg => "emulated (TCG)",
        Accelerator::Kvm => "on hardware (KVM)",
    }
}

impl Plan {
    /// Measures on machines with these kinds of IOMMU, and others beside this system unless it is to be `alone`.
    ///
    /// # Errors
    ///
    /// [`BenchError::NoKvm`] if instructions are to be executed by this machine's processor and that does not work.
    pub fn new(iommu: Vec<Iommu>, accelerator: Accelerator, alone: bool) -> Result<Self, BenchError> {
        if accelerator == Accelerator::Kvm {
            match Kvm::remembered_or_probed() {
                Kvm::Works => {}
                other => return Err(BenchError::NoKvm(other)),
            }
        }
        Ok(Self { iommu, accelerator, alone, works: OnceCell::new(), counted: OnceCell::new(), turns: OnceCell::new() })
    }

    pub(super) fn works(&self) -> Result<&Works, BenchError> {
        match self.works.get() {
            Some(works) => Ok(works),
            None => {
                let works = Works::fetch()?;
                Ok(self.works.get_or_init(|| works))
            }
        }
    }

    /// What works cost Linux, in instructions: counted once.
    pub(super) fn counted_linux(&self) -> Result<&Costs, BenchError> {
        if let Some(costs) = self.counted.get() {
            return Ok(costs);
        }
        let works = self.works()?;
        let step = Step::start("Linux's work, counting instructions");
        let costs = works.run(WORKS_OF_LINUX, |machine| {
            machine.cpu_model = MODEL.to_owned();
            machine.extra.extend(["-icount", "shift=0,sleep=off"].map(Into::into));
        })?;
        step.quiet();
        Ok(self.counted.get_or_init(|| costs))
    }

    /// What the kernel's works took here and on Linux, in ticks of the time-stamp counter: each pair one after the other, so that a
    /// busy host slows both. Taken once.
    pub(super) fn turns(&self) -> Result<&[(Costs, Costs)], BenchError> {
        if let Some(turns) = self.turns.get() {
            return Ok(turns);
        }
        let works = self.works()?;
        let mut turns = Vec::new();
        for turn in 1..=TURNS {
            let what = |whose| format!("{whose} work by the clock, turn {turn} of {TURNS}");
            let own = timed("costs", LONG, self.accelerator, &what("The kernel's"))?;
            let step = Step::start(what("Linux's"));
            let linux = works.run(&format!("{WORKS_OF_LINUX} {LONG}"), |machine| time(self.accelerator, machine))?;
            step.quiet();
            turns.push((Costs::read(&own), linux));
        }
        Ok(self.turns.get_or_init(|| turns))
    }

    /// A sentence that says how time was taken.
    pub(super) fn about_turns(&self) -> String {
        let how = name(self.accelerator);
        format!("Time and cycles: {how}, medians of 4,096 rounds in {TURNS} turns of one system after the other.")
    }

    /// What it takes Linux to read a raw disk, in nanoseconds: of 4 KiB in random places one at a time (`disk-random-1`) and 32 at a
    /// time (`disk-random-32`), of 1 MiB in order past the cache (`disk-sequential-direct`) and through it
    /// (`disk-sequential-cached`). The machine is the one that is compared by the clock.
    ///
    /// # Errors
    ///
    /// [`BenchError`].
    pub fn linux_disk(&self, image: &Path) -> Result<Costs, BenchError> {
        self.works()?.run("works=disk intel_iommu=on", |machine| {
            machine.drives = vec![Drive::read_only(image)];
            time(self.accelerator, machine);
        })
    }

    /// A sentence that says which Linux it is.
    pub(super) fn about_linux(&self) -> Result<String, BenchError> {
        Ok(format!("Linux {}, mitigations off; `-cpu {MODEL}` where it is emulated.", self.works()?.version()))
    }
}
