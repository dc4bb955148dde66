//! The figures as a page of the reference.

use std::fmt::Write as _;

use super::{Figures, flow};

pub(crate) fn markdown(figures: &Figures) -> String {
    let milliseconds = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
    let mut page = String::from(
        "# Benchmarks\n\n\
         <!-- Written by `cargo xtask bench`; do not edit. -->\n\n\
         Measured by `cargo xtask bench` with the `release-fast` profile, on a machine that other work may have shared.\n\
         Compare the ratios, not the absolute figures: both sides of a ratio were measured in the same run.\n\n",
    );
    let (job, shell) = (milliseconds(figures.job.job), milliseconds(figures.job.shell));
    let mebibytes = |bytes: u64| bytes / (1024 * 1024);
    let rows = [
        (
            "start of `mxjob up` on an empty data directory until ready",
            format!("{:.0} ms", milliseconds(figures.start)),
            "under 100 ms",
        ),
        ("memory when idle", format!("{} MiB", figures.idle_kib / 1024), "under 40 MB"),
        (
            "`POST` of a job (1 scheduler, 1 server, 2 workers) until its last process has started",
            format!("{job:.0} ms"),
            "",
        ),
        ("the same four processes from a shell", format!("{shell:.0} ms"), ""),
        ("difference of the two", format!("{:.0} ms", job - shell), "under 50 ms"),
        (
            "reads/s with flow control, of those without",
            flow::Figures::summary(&figures.flow.ratios),
            "over 97 %",
        ),
        (
            "reads/s without flow control, of those a moment earlier",
            flow::Figures::summary(&figures.flow.noise),
            "",
        ),
        ("size of the binary", format!("{} MiB", mebibytes(figures.binary_bytes)), ""),
    ];
    page.push_str("| measurement | figure | goal |\n| --- | --: | --- |\n");
    for (what, figure, goal) in rows {
        let _ = writeln!(page, "| {what} | {figure} | {goal} |");
    }
    page.push_str(
        "\nThe reads are `GET`s of MXJobs over TLS on 16 connections, in turns by a user and by one who is exempt from\n\
         flow control: the median, and the middle half of the turns.\n",
    );
    page.push_str(
        "\n## Durable replaces\n\n\
         `PUT` of a whole MXJob over TLS, answered after it is synced to disk, beside plain appends of 2 KiB with\n\
         `fdatasync` after each on the same disk, before and after. A ratio above 1 means that one sync served\n\
         several replaces.\n\n\
         | connections | replaces/s | p50 | p99 | append + fdatasync/s | ratio |\n\
         | --: | --: | --: | --: | --: | --: |\n",
    );
    for row in &figures.replaces {
        let _ = writeln!(
            page,
            "| {} | {:.0} | {:.2} ms | {:.2} ms | {:.0} | {:.2} |",
            row.connections,
            row.per_second,
            row.p50_ms,
            row.p99_ms,
            row.disk_per_second,
            row.per_second / row.disk_per_second
        );
    }
    page
}
