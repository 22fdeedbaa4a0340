//! `cargo xtask`: reads arguments, calls the library, turns its errors into sentences and exit codes.

mod arguments;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use xtask::audit::Audit;
use xtask::bench::{self, Baseline, BenchError};
use xtask::book;
use xtask::build::{self, Check, Composition};
use xtask::coverage::Coverage;
use xtask::crashes;
use xtask::disk;
use xtask::doctor::Examination;
use xtask::fault::FaultError;
use xtask::fuzz;
use xtask::guest;
use xtask::machine::{Accelerator, Drive, Machine, Serial};
use xtask::messages;
use xtask::mutants;
use xtask::replay::{self, ReplayError};
use xtask::run::RunError;
use xtask::scaffold::{Change, OperatingSystem, Tree};
use xtask::setup::{self, SetupError};
use xtask::suites::{self, Choice, Size, SuiteError};
use xtask::workspace;

use arguments::{Arguments, Bench, Command, Fault, Fuzz, Guest, GuestCommand, Mutants, New, Remove, Run, Test};

/// Something is missing that a person has to install; the commands were printed.
const NOT_SET_UP: u8 = 2;

/// An error of whatever command, ready to be shown.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(options) => run(options),
        Command::Image => image(),
        Command::New(options) => new(&options),
        Command::Remove(options) => remove(&options),
        Command::Test(options) => test(&options),
        Command::Doctor => Ok(doctor()),
        Command::Audit => audit(),
        Command::Coverage => coverage(),
        Command::Fault(options) => fault(options),
        Command::Fuzz(options) => fuzz(&options),
        Command::Guest(options) => Ok(guest(&options)),
        Command::Mutants(options) => mutants(options),
        Command::Replay { script } => replay(&script),
        Command::Setup => set_up(),
        Command::Book => book(),
        Command::Crashes { disk } => crashes(&disk),
        Command::Check => check(),
        Command::Bench(options) => bench(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            exit_code(error.as_ref())
        }
    }
}

/// 2 where a person has to install something or to change the command, 1 for everything else.
fn exit_code(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let by_hand = |error: &SetupError| matches!(error, SetupError::ByHand(_));
    let direct = error.downcast_ref::<SetupError>().is_some_and(by_hand);
    let in_run = matches!(error.downcast_ref(), Some(RunError::Setup(error)) if by_hand(error));
    let in_suite = matches!(error.downcast_ref(), Some(SuiteError::Setup(error)) if by_hand(error));
    let in_bench = matches!(error.downcast_ref(), Some(BenchError::Setup(error)) if by_hand(error));
    let in_fault = matches!(error.downcast_ref(), Some(FaultError::Setup(error)) if by_hand(error));
    let is_argument = matches!(error.downcast_ref(), Some(error) if FaultError::is_argument(error));
    let in_replay = matches!(error.downcast_ref(), Some(ReplayError::Setup(error)) if by_hand(error));
    if direct || in_run || in_suite || in_bench || in_fault || is_argument || in_replay {
        ExitCode::from(NOT_SET_UP)
    } else {
        ExitCode::FAILURE
    }
}

fn run(options: Run) -> Result<bool, Failure> {
    Ok(options.plan()?.carry_out()?)
}

fn image() -> Result<bool, Failure> {
    let source = setup::ensure()?;
    let built = build::system(&source)?;
    let mut machine = Machine::new(&built.image);
    machine.plugs.clone_from(&built.plugs);
    machine.drives = vec![Drive::new(disk::default_image()?)];
    machine.serial = Serial::Terminal;
    machine.restarts = true;
    println!("{}\n", built.image.display());
    println!("This one file is the whole system. It boots without this project:\n");
    println!("    {}\n", machine.command_line());
    println!("Ctrl-A X leaves. The -drive and its -device are the disk, and may be left out.");
    Ok(true)
}

fn new(options: &New) -> Result<bool, Failure> {
    let New { kind, name, path } = options;
    let change = Tree::default().create(*kind, name, path.as_deref())?;
    change.carry_out(&mut OperatingSystem)?;
    let folder = change.folder().unwrap_or(Path::new("")).display();
    println!("{folder}:");
    for (file, _) in change.files().iter().filter(|(file, _)| file != "Cargo.lock") {
        println!("    {file}");
    }
    show_edits(&change);
    println!(
        "\n`cargo xtask run` boots with it; `{name} {}` asks it at the shell. Its tests are run by",
        kind.example()
    );
    println!("`cargo test` in {folder}. `cargo xtask remove {name}` undoes all this.");
    Ok(true)
}

fn remove(options: &Remove) -> Result<bool, Failure> {
    let change = Tree::default().remove(&options.name, options.force)?;
    change.carry_out(&mut OperatingSystem)?;
    println!("removed {}", change.folder().unwrap_or(Path::new("")).display());
    show_edits(&change);
    Ok(true)
}

fn show_edits(change: &Change) {
    for file in change.edited() {
        println!("changed {}", file.display());
    }
}

fn test(options: &Test) -> Result<bool, Failure> {
    if options.list {
        return list(options.filter.as_deref().unwrap_or_default());
    }
    let chosen: Vec<_> = match options.suite {
        Some(suite) => vec![suite],
        None => suites::Suite::ALL.to_vec(),
    };
    let size = if options.large { Size::Large } else { Size::Usual };
    let hostility = options.hostility.plan(size);
    let filter = options.filter.as_deref();
    let tally = suites::run(&chosen, &Choice { filter, size, hostility, writes_docs: options.docs })?;
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// Prints the conformance suite's cases, by module.
fn list(filter: &str) -> Result<bool, Failure> {
    for module in suites::catalogue::read()? {
        for name in module.cases.iter().filter(|name| name.contains(filter)) {
            println!("{:<14}{name}", module.name);
        }
    }
    Ok(true)
}

fn bench(options: &Bench) -> Result<bool, Failure> {
    if let Some(work) = &options.trace {
        print!("{}", bench::trace(work)?);
        return Ok(true);
    }
    let is_chosen = |group: &bench::Group| match &options.what[..] {
        [] => group.is_compared() || !(options.compare || options.save),
        chosen => chosen.contains(group),
    };
    let accelerator = Accelerator::choose(options.accel);
    let alone = options.alone || options.compare || options.save;
    let plan = bench::Plan::new(options.iommu.clone(), accelerator, alone)?;
    let mut tables = Vec::new();
    for group in bench::Group::ALL.into_iter().filter(is_chosen) {
        if !group.is_measured_by(accelerator) {
            println!("{}: is counted in instructions, which only an emulated processor does\n", group.name());
            continue;
        }
        let table = group.measure(&plan)?;
        println!("{table}");
        tables.push(table);
    }
    let json = options.json.clone().unwrap_or_else(|| workspace::system_target().join("bench.json"));
    bench::report::write(&json, &tables, accelerator)?;
    if let Some(chart) = &options.chart {
        fs::write(chart, bench::chart::draw(&tables))?;
    }
    if options.docs {
        bench::page::write(&tables)?;
    }
    if options.compare {
        let comparison = Baseline::read()?.compare(&tables);
        print!("{comparison}");
        return Ok(comparison.is_good());
    }
    if let Some(reason) = &options.reason {
        let mut baseline = Baseline::read()?;
        let changed = baseline.record(&tables, reason);
        baseline.write()?;
        println!("{}: {} changed, {}", bench::baseline::PATH, changed.len(), changed.join(", "));
        return Ok(tables.iter().flat_map(|table| &table.rows).all(|row| row.figure.is_some()));
    }
    Ok(tables.iter().flat_map(|table| &table.rows).all(bench::Row::is_good))
}

fn book() -> Result<bool, Failure> {
    match &book::write()?[..] {
        [] => println!("The reference pages say what the sources say."),
        changed => println!("Written: {}", changed.join(", ")),
    }
    Ok(true)
}

fn crashes(disk: &Path) -> Result<bool, Failure> {
    print!("{}", crashes::of_disk(disk)?);
    Ok(true)
}

fn doctor() -> bool {
    let examination = Examination::make();
    print!("{}", examination.text);
    examination.healthy
}

fn audit() -> Result<bool, Failure> {
    let audit = Audit::of_tree()?;
    print!("{audit}");
    Ok(audit.passed())
}

fn coverage() -> Result<bool, Failure> {
    let coverage = Coverage::measure()?;
    print!("{coverage}");
    Ok(coverage.passed())
}

fn fault(options: Fault) -> Result<bool, Failure> {
    let outcome = options.carry_out()?;
    print!("{}", outcome.text);
    Ok(outcome.survived())
}

fn fuzz(options: &Fuzz) -> Result<bool, Failure> {
    if let Some(interface) = &options.interface {
        return Ok(messages::run(interface, options.messages, options.seed)?);
    }
    let subject = options.device.as_deref().and_then(fuzz::Subject::device).unwrap_or(fuzz::Subject::Kernel);
    fuzz::run(fuzz::Plan { subject, time: Duration::from_secs(options.seconds), keep: options.keep })?;
    Ok(true)
}

fn guest(options: &Guest) -> bool {
    match options.what {
        GuestCommand::Fetch => {
            let (text, is_complete) = guest::fetch();
            print!("{text}");
            is_complete
        }
    }
}

fn mutants(options: Mutants) -> Result<bool, Failure> {
    let fates = mutants::run(&mutants::Plan { shard: options.shard, files: options.files, jobs: options.jobs })?;
    print!("{fates}");
    Ok(fates.passed())
}

fn replay(script: &Path) -> Result<bool, Failure> {
    let comparison = replay::replay(script)?;
    print!("{comparison}");
    Ok(comparison.disagreements() == 0)
}

fn set_up() -> Result<bool, Failure> {
    setup::ensure()?;
    println!("Everything that Bulkhead needs is there.");
    Ok(true)
}

fn check() -> Result<bool, Failure> {
    let source = setup::ensure()?;
    let mut packages = Composition::of_system()?.packages();
    packages.extend([build::CONFORMANCE, build::LINUX_PEER, build::MONITOR].map(str::to_owned));
    build::check(Check::Clippy, &packages, &source)?;
    build::check(Check::Documentation, &packages, &source)?;
    Ok(true)
}
