//! The time from the `POST` of a job to the start of its last process, beside the same four
//! processes started from a shell.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::{Bench, number};
use crate::interrupt::Flag;
use crate::run;

/// Processes of a job with one scheduler, one server and two workers.
const PROCESSES: usize = 4;
const LIMIT: Duration = Duration::from_secs(30);

/// Medians.
#[derive(Debug)]
pub(crate) struct Figures {
    /// From the `POST` until the last process had started.
    pub(crate) job: Duration,
    /// From the start of a shell until the last of its four processes had started.
    pub(crate) shell: Duration,
}

/// Measures both in turn, so that a change of the machine's speed affects both.
pub(crate) fn measure(bench: &Bench, rounds: usize, interrupted: &Flag) -> Result<Figures> {
    let server = bench.server("up", "jobs")?;
    let (mut job, mut shell) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        interrupted.check()?;
        let stamps = bench.folder.join(format!("stamps-{round}"));
        std::fs::create_dir_all(&stamps).context("cannot create a folder for the time stamps")?;
        // Each process writes its start time to a file of its own and renames it when complete.
        // (The name is not from `$$`, which a pod's command would have to escape.) The processes
        // run for two seconds more, because a job ends with its scheduler.
        let process = format!(
            "t=`mktemp {}/XXXXXXXX.new` && date +%s.%N > $t && mv $t ${{t%.new}}; exec sleep 2",
            stamps.display()
        );

        let sent = since_epoch();
        let script = format!("for n in 1 2 3 4; do /bin/sh -c '{process}' & done; wait");
        run::quiet(run::command("/bin/sh").args(["-c", &script]))?;
        shell.push(last(&stamps)?.saturating_sub(sent));
        std::fs::remove_dir_all(&stamps).context("cannot remove the time stamps")?;
        std::fs::create_dir_all(&stamps).context("cannot create a folder for the time stamps")?;

        let object = bench.write_object("job.json", &["/bin/sh", "-c", &process])?;
        let prefix = format!("bench-{round}");
        let figures = bench.load(
            &server,
            "bench",
            "create",
            &["--object", &object, "--count", "1", "--prefix", &prefix],
        )?;
        let sent = Duration::from_secs_f64(number(&figures["first_sent_at"])?);
        job.push(last(&stamps)?.saturating_sub(sent));
    }
    server.stop()?;
    Ok(Figures { job: super::median(&mut job), shell: super::median(&mut shell) })
}

/// The latest time stamp, once every process has written one.
fn last(stamps: &Path) -> Result<Duration> {
    let all = run::poll(LIMIT, Duration::from_millis(2), || {
        let mut times = Vec::new();
        for entry in std::fs::read_dir(stamps).context("cannot list the time stamps")?.flatten() {
            if entry.path().extension().is_none() {
                let text =
                    std::fs::read_to_string(entry.path()).context("cannot read a time stamp")?;
                let seconds: f64 = text.trim().parse().context("a time stamp is not a number")?;
                times.push(Duration::from_secs_f64(seconds));
            }
        }
        Ok((times.len() >= PROCESSES).then_some(times))
    })?;
    match all.and_then(|times| times.into_iter().max()) {
        Some(latest) => Ok(latest),
        None => bail!("the processes of the job had not all started after {LIMIT:?}"),
    }
}

#[allow(clippy::disallowed_methods, reason = "compared with `date` in another process")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
