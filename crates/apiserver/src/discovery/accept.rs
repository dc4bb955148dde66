//! The form of discovery that an `Accept` header requests.

use crate::discovery::aggregated::Version;

/// The requested form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One document for each group or version.
    Plain,
    /// All groups in one document.
    Aggregated(Version),
}

/// The first supported form, by quality and then by position. If none is supported, the form is
/// plain, and the negotiation of plain documents refuses the request.
pub(super) fn wanted(accept: &str) -> Wanted {
    clauses(accept).into_iter().find_map(|clause| clause.wanted()).unwrap_or(Wanted::Plain)
}

struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept.split(',').map(Clause::parse).collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let quality =
            parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, q)| q.parse().ok());
        Self { media_type, parameters, quality: quality.unwrap_or(1.0) }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn is_json(&self) -> bool {
        matches!(self.media_type, "application/json" | "application/*" | "*/*")
    }

    fn wanted(&self) -> Option<Wanted> {
        if self.get("as").is_none() {
            return (self.is_json() || self.media_type == "application/yaml")
                .then_some(Wanted::Plain);
        }
        let aggregated = self.get("as") == Some("APIGroupDiscoveryList")
            && self.get("g") == Some("apidiscovery.k8s.io");
        if !(self.is_json() && aggregated) {
            return None;
        }
        Version::parse(self.get("v")?).map(Wanted::Aggregated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_supported_form_is_used() {
        const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        const V2BETA1: &str =
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        let check = |accept: &str, want: Wanted| assert_eq!(wanted(accept), want, "{accept}");
        check("", Wanted::Plain);
        check("*/*", Wanted::Plain);
        check(V2, Wanted::Aggregated(Version::V2));
        check(V2BETA1, Wanted::Aggregated(Version::V2beta1));
        check(&format!("{V2},{V2BETA1},application/json"), Wanted::Aggregated(Version::V2));
        check(&format!("application/json,{V2}"), Wanted::Plain);
        check(&format!("application/json;q=0.5, {V2}"), Wanted::Aggregated(Version::V2));
        check(&format!("{},application/json", V2.replace("v2", "v3")), Wanted::Plain);
        check(
            &format!("{},application/yaml", V2.replace("json", "vnd.kubernetes.protobuf")),
            Wanted::Plain,
        );
    }
}
