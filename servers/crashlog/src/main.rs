//! Writes records of deaths to a file, so that they outlive the machine's power.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use crashlog::{CrashLog, Progress};
use interfaces::crash_log::PATH;
use interfaces::filesystem::FilesystemClient;
use interfaces::supervision::SupervisionClient;
use userlib::status::{self, Phase};
use userlib::time::Duration;
use userlib::{Environment, executor, log};

/// How often it asks whether somebody has died.
const LOOK: Duration = Duration::from_secs(1);
/// How long a call may take: much less than a heartbeat, which is not answered meanwhile.
const PATIENCE: Duration = Duration::from_millis(300);

userlib::entry!(program);

fn program(environment: &'static Environment) -> ! {
    let files = FilesystemClient::new(environment.connection("filesystem")).with_timeout(PATIENCE);
    let supervisor = SupervisionClient::new(environment.connection("supervision")).with_timeout(PATIENCE);
    let mut crashes = CrashLog::new(files, supervisor);
    status::set_phase(Phase::Ready);
    match executor::run(async {
        // Whether it was said already that deaths are not written down: once is enough, however long that lasts.
        let mut is_troubled = false;
        loop {
            executor::sleep(LOOK).await;
            match crashes.advance().await {
                Ok(Progress { written, missed }) => {
                    if missed > 0 {
                        log::warn!(
                            "deaths of which nothing was told: {missed}; a supervisor that dies takes with it what it knows"
                        );
                    }
                    if is_troubled && written > 0 {
                        log::info!("deaths are written to {PATH} again, the last {written} among them");
                        is_troubled = false;
                    }
                }
                Err(error) if error.is_lasting() => {
                    log::warn!("{error}; nobody keeps them beyond this boot");
                    core::future::pending::<()>().await;
                }
                Err(error) if !is_troubled => {
                    log::warn!("{error}; it is tried again every second");
                    is_troubled = true;
                }
                Err(_) => {}
            }
        }
    }) {}
}
