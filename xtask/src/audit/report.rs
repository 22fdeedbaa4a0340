//! What an audit has found, as a person reads it.

use std::fmt;

use super::{ABI, Audit, CORE, File, IOMMU, KERNEL_LIMIT, PARTS, PATTERNS, SHELL, SHELL_LIMIT, TRUSTED};

/// The columns beside the names.
#[derive(Default)]
struct Row {
    code: usize,
    tests: usize,
    unsafe_blocks: usize,
    unreasoned: usize,
}

impl Row {
    fn of<'a>(files: impl Iterator<Item = &'a File>) -> Self {
        files.fold(Self::default(), |sum, file| Self {
            code: sum.code + file.code,
            tests: sum.tests + file.tests,
            unsafe_blocks: sum.unsafe_blocks + file.unsafe_blocks,
            unreasoned: sum.unreasoned + file.unreasoned.len(),
        })
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let Self { code, tests, unsafe_blocks, unreasoned } = self;
        writeln!(f, "{name:<44}{code:>8}{tests:>8}{unsafe_blocks:>15}{unreasoned:>16}")
    }
}

fn heading(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    writeln!(f, "{name:<44}{:>8}{:>8}{:>15}{:>16}", "code", "tests", "unsafe blocks", "without reason")
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "part")?;
        for (part, _) in PARTS {
            Row::of(self.of_part(part)).write(f, part)?;
        }
        Row::of(self.files.iter()).write(f, "total")?;
        writeln!(f, "\nLines without blank lines and comments; \"tests\" are test modules and test files.\n")?;

        heading(f, "what everybody has to trust")?;
        for part in TRUSTED {
            for file in self.of_part(part).filter(|file| file.code > 0) {
                Row::of(std::iter::once(file)).write(f, &file.path.display().to_string())?;
            }
        }
        let [core, shell, iommu, abi] = [CORE, SHELL, IOMMU, ABI].map(|part| self.code_of(part));
        writeln!(f, "\nhardware shell: {shell} lines of code, fewer than {SHELL_LIMIT} wanted")?;
        writeln!(
            f,
            "kernel: {} lines of code (core {core}, shell {shell}, IOMMU {iommu}), fewer than {KERNEL_LIMIT} wanted",
            core + shell + iommu
        )?;
        writeln!(f, "shared with programs (abi): {abi} lines of code")?;
        match &self.image {
            Some(size) => writeln!(
                f,
                "kernel image: {} bytes of instructions, {} of constants, {} of data, {} that start as zero",
                size.text, size.constants, size.data, size.zero
            )?,
            None => writeln!(f, "kernel image: not built yet; `cargo xtask image` builds it")?,
        }
        self.write_forbidden(f)?;

        let complaints = self.complaints();
        if !complaints.is_empty() {
            writeln!(f, "\nWrong:")?;
        }
        complaints.iter().try_for_each(|complaint| writeln!(f, "{complaint}"))
    }
}

impl Audit {
    fn write_forbidden(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<44}{:>16}{:>16}", "forbidden in the kernel's core", "excepted", "without reason")?;
        for (lint, words) in PATTERNS {
            let excepted = self.exceptions().filter(|(_, exception)| exception.lints.iter().any(|name| name == lint));
            let findings = self.forbidden.iter().filter(|finding| finding.lint == lint);
            writeln!(f, "{words:<44}{:>16}{:>16}", excepted.count(), findings.count())?;
        }
        for (path, exception) in self.exceptions() {
            let lints: Vec<&str> = exception.lints.iter().map(|lint| lint.trim_start_matches("clippy::")).collect();
            let reason = exception.reason.as_deref().unwrap_or("no reason");
            writeln!(f, "  {}:{}: {}: {reason}", path.display(), exception.line, lints.join(", "))?;
        }
        Ok(())
    }
}
