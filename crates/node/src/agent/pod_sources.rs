//! Everything outside of a pod that its variables and volumes show.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::{
    Context,
    fields::FieldFacts,
    mounts::PodVolumes,
    service_account::{Account, AccountFiles, TokenKey},
    sources::{References, Sources, StartProblem},
};
use crate::runtime::Sandbox;

/// The objects and tokens of a pod.
#[derive(Debug)]
pub(super) struct PodSources {
    pub(super) sources: Sources,
    account_files: Option<AccountFiles>,
}

impl PodSources {
    /// Reads the objects with these names, the claims, and the tokens of a pod.
    pub(super) async fn read(
        context: &Context,
        pod: &Pod,
        sandbox: &Sandbox,
        references: References,
    ) -> Result<Self, StartProblem> {
        let client = &context.client;
        let failed = |what: &str, error: kube::Error| {
            StartProblem::Retryable(format!("cannot read the {what} of the pod: {error}"))
        };
        let namespace = pod.namespace().unwrap_or_default();
        let sources = Sources::read(client, &namespace, references);
        let mut sources = sources.await.map_err(|error| failed("ConfigMaps and Secrets", error))?;
        let is_new = sandbox.dir().every_attempt().is_empty();
        let claims = sources.add_claims(client, pod, is_new).await;
        claims.map_err(|error| failed("claims", error))?;
        for key in TokenKey::of_volumes(pod) {
            let token = context.tokens.get(client, pod, &key).await;
            let token = token.map_err(|error| format!("cannot get a token: {error}"));
            sources.tokens.insert(key, token);
        }
        let account_files = account_files(context, pod).await?;
        Ok(Self { sources, account_files })
    }

    /// The volumes of the pod.
    pub(super) fn volumes<'a>(
        &'a self,
        context: &'a Context,
        pod: &'a Pod,
        sandbox: &'a Sandbox,
        facts: &'a FieldFacts<'a>,
    ) -> PodVolumes<'a> {
        PodVolumes {
            pod,
            sandbox,
            sources: &self.sources,
            facts,
            account_files: self.account_files.as_ref(),
            forbidden: context.runtime.isolation().why_no_mounts(),
        }
    }
}

/// The input of fields of a pod of this node.
pub(super) fn facts<'a>(context: &'a Context, sandbox: &Sandbox) -> FieldFacts<'a> {
    FieldFacts {
        address: sandbox.address(),
        host_ip: &context.host_ip,
        allocatable: &context.allocatable,
    }
}

/// The files of the automatic volume; `None` where there is none.
async fn account_files(context: &Context, pod: &Pod) -> Result<Option<AccountFiles>, StartProblem> {
    let Some(access) = &context.config.api_server else { return Ok(None) };
    if !context.runtime.isolation().has_mounts() {
        return Ok(None);
    }
    let name = super::fields::account_of(pod);
    let account = Account::read(&context.client, pod).await.map_err(|error| {
        StartProblem::Retryable(format!("cannot read serviceaccount {name:?}: {error}"))
    })?;
    let missing = || StartProblem::Retryable(format!("serviceaccount {name:?} not found"));
    if !account.ok_or_else(missing)?.automounts(pod) {
        return Ok(None);
    }
    let token = context.tokens.get(&context.client, pod, &TokenKey::automatic()).await;
    let token = token.map_err(|error| {
        StartProblem::Retryable(format!("cannot get a token of serviceaccount {name:?}: {error}"))
    })?;
    let namespace = pod.namespace().unwrap_or_default();
    Ok(Some(AccountFiles { token, namespace, authority: access.authority.clone() }))
}
