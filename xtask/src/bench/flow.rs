//! What flow control costs: reads over TLS of a user whose requests it counts and orders, beside
//! those of a user who is exempt.

use anyhow::{Context as _, Result};

use super::{Bench, number};
use crate::interrupt::Flag;
use crate::{environment, run};

/// Enough connections to keep the server busy.
const CONNECTIONS: &str = "16";
/// The token of the exempt user, and of the other one.
const EXEMPT: &str = "bench";
const CONTROLLED: &str = "controlled";

/// Ratios of requests a second, in ascending order.
#[derive(Debug)]
pub(crate) struct Figures {
    /// With flow control to without.
    pub(crate) ratios: Vec<f64>,
    /// Without flow control, to the same a moment earlier: what the machine does to a ratio.
    pub(crate) noise: Vec<f64>,
}

/// Measures both in turns: exempt, controlled, exempt, controlled, … A controlled turn is compared
/// with the mean of those before and after.
pub(crate) fn measure(
    bench: &Bench,
    rounds: usize,
    seconds: u64,
    interrupted: &Flag,
) -> Result<Figures> {
    let server = bench.server("apiserver", "flow")?;
    // Both have all rights by a binding of their group.
    environment::kubectl()?;
    run::output(
        run::command("kubectl")
            .arg("--kubeconfig")
            .arg(&server.kubeconfig)
            .args(["create", "clusterrolebinding", "bench", "--clusterrole=cluster-admin"])
            .arg("--group=bench"),
    )
    .context("cannot give the controlled user its rights")?;
    bench.load(&server, EXEMPT, "create", &["--object", &bench.object()?, "--conns", "8"])?;
    let seconds = seconds.to_string();
    let turn = |token| -> Result<f64> {
        interrupted.check()?;
        let arguments = ["--conns", CONNECTIONS, "--seconds", &seconds, "--warmup", "0.2"];
        number(&bench.load(&server, token, "get", &arguments)?["per_second"])
    };
    let (mut ratios, mut noise) = (Vec::new(), Vec::new());
    let mut before = turn(EXEMPT)?;
    for _ in 0..rounds {
        let controlled = turn(CONTROLLED)?;
        let after = turn(EXEMPT)?;
        ratios.push(controlled / f64::midpoint(before, after));
        noise.push(after / before);
        before = after;
    }
    server.stop()?;
    ratios.sort_by(f64::total_cmp);
    noise.sort_by(f64::total_cmp);
    Ok(Figures { ratios, noise })
}

impl Figures {
    /// The median of ascending ratios, and the middle half of them, in percent.
    pub(crate) fn summary(ratios: &[f64]) -> String {
        let at = |part: usize| 100.0 * ratios.get(ratios.len() * part / 4).copied().unwrap_or(1.0);
        format!("{:.1} % ({:.1} to {:.1} %)", at(2), at(1), at(3))
    }
}
