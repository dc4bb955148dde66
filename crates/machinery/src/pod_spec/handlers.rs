//! Probes and lifecycle hooks.

use serde_json::Value;

use super::view::{Context, Rule, Table, Variant, View, of, variant};
use crate::names;

/// A number of seconds or of times.
const COUNT: Rule = Rule::Range(0, i64::MAX, "must be greater than or equal to 0");

const PROBE: &[Table] = &[
    of("validateHandler", &[("", Rule::Check(check_probe_handler))]),
    of(
        "validateProbe",
        &[
            ("initialDelaySeconds", COUNT),
            ("timeoutSeconds", COUNT),
            ("periodSeconds", COUNT),
            ("successThreshold", COUNT),
            ("failureThreshold", COUNT),
            ("terminationGracePeriodSeconds", Rule::Range(1, i64::MAX, "must be greater than 0")),
        ],
    ),
];

const ONCE: &[Table] =
    &[of("validateLivenessProbe", &[("successThreshold", Rule::Range(1, 1, "must be 1"))])];

const READY: &[Table] = &[of(
    "validateReadinessProbe",
    &[(
        "terminationGracePeriodSeconds",
        Rule::If(|seconds, context| {
            seconds.invalid("must not be set for readinessProbes", context);
        }),
    )],
)];

/// The probes and hooks of a container that may have them.
pub(super) const HANDLERS: &[Table] = &[
    of("validateLifecycle", &[("lifecycle", Rule::If(check_lifecycle))]),
    of(
        "validateLivenessProbe",
        &[("livenessProbe", Rule::Fields(PROBE)), ("livenessProbe", Rule::Fields(ONCE))],
    ),
    of(
        "validateReadinessProbe",
        &[("readinessProbe", Rule::Fields(PROBE)), ("readinessProbe", Rule::Fields(READY))],
    ),
    of(
        "validateStartupProbe",
        &[("startupProbe", Rule::Fields(PROBE)), ("startupProbe", Rule::Fields(ONCE))],
    ),
];

const EXEC: Variant = variant("exec", "validateExecAction", &[("command", Rule::Required(""))]);
const HTTP: Variant = variant(
    "httpGet",
    "validateHTTPGetAction",
    &[
        ("path", Rule::Required("")),
        ("port", Rule::Check(check_port)),
        ("scheme", Rule::OneOf(&["HTTP", "HTTPS"])),
        ("httpHeaders", Rule::Check(check_headers)),
    ],
);
const TCP: Variant =
    variant("tcpSocket", "validateTCPSocketAction", &[("port", Rule::Check(check_port))]);
const GRPC: Variant = variant("grpc", "validateGRPCAction", &[("port", Rule::Check(check_port))]);
const SLEEP: Variant = variant("sleep", "validateSleepAction", &[("", Rule::Check(check_sleep))]);

/// `validateHandler`.
fn check_handler<'v>(
    handler: &View<'v, '_>,
    variants: &'static [Variant],
    context: &mut Context<'v>,
) {
    let more = "may not specify more than 1 handler type";
    handler.check_one_of(variants, more, "must specify a handler type", context);
}

fn check_probe_handler<'v>(probe: &View<'v, '_>, context: &mut Context<'v>) {
    check_handler(probe, &[EXEC, HTTP, TCP, GRPC], context);
}

/// `validateLifecycle`.
fn check_lifecycle<'v>(lifecycle: &View<'v, '_>, context: &mut Context<'v>) {
    for hook in ["postStart", "preStop"] {
        if let Some(hook) = lifecycle.given(hook) {
            check_handler(&hook, &[EXEC, HTTP, TCP, SLEEP], context);
        }
    }
    if let Some(signal) = lifecycle.given("stopSignal") {
        let os = context.spec.pointer("/os/name").and_then(Value::as_str);
        match os {
            None => {
                signal.forbidden("may not be set for containers with empty `spec.os.name`", context)
            }
            Some("windows") if !["SIGKILL", "SIGTERM"].contains(&signal.str()) => {
                signal.not_supported(&["SIGKILL", "SIGTERM"], context);
            }
            Some("linux") if !is_signal(signal.str()) => {
                signal.invalid("not a signal of Linux", context);
            }
            Some(_) => {}
        }
    }
}

/// Whether Linux has the signal.
fn is_signal(name: &str) -> bool {
    const PLAIN: &str = " ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX ";
    let Some(name) = name.strip_prefix("SIG") else { return false };
    let number = |prefix, most| {
        let rest = name.strip_prefix(prefix).filter(|rest: &&str| !rest.starts_with(['0', '+']));
        rest.and_then(|rest| rest.parse::<u8>().ok()).is_some_and(|number| number <= most)
    };
    PLAIN.split(' ').any(|plain| plain == name && !plain.is_empty())
        || number("RTMIN+", 15)
        || number("RTMAX-", 14)
}

/// `ValidatePortNumOrName`.
fn check_port(port: &View<'_, '_>, context: &mut Context<'_>) {
    if port.value.is_string() {
        return port.check_text(names::port_name, context);
    }
    // A missing port counts as 0.
    let number = port.int().unwrap_or_default();
    if !(1..=65535).contains(&number) {
        port.invalid_as(number, super::PORT_RULE, context);
    }
}

/// The names of headers are reported at the list.
fn check_headers(headers: &View<'_, '_>, context: &mut Context<'_>) {
    for header in headers.objects() {
        let name = header.get("name");
        headers.showing(name.value).check_text(names::http_header, context);
    }
}

fn check_sleep(sleep: &View<'_, '_>, context: &mut Context<'_>) {
    let grace = context.spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    let seconds = sleep.get("seconds").int().unwrap_or_default();
    if let Some(grace) = grace.filter(|grace| !(0..=*grace).contains(&seconds)) {
        let detail =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        sleep.invalid_as(seconds, detail, context);
    }
}
